//! Draws what the demo showed as an SVG that browsers play: CSS animations, no script, no fonts or
//! images from elsewhere, so that it plays inside an `<img>` too.
//!
//! Above the terminal stands a drawing of who serves the client. Both follow one timeline, which is
//! made for reading and not that of the run: [`PLAY`] seconds, then [`HOLD`] seconds of stillness.
//! Where animations are off, everything is visible in its last state.

use std::fmt::Write as _;

use super::narrator::{Entry, Traffic, shown};

/// Seconds until the last line appears.
const PLAY: f64 = 20.0;
/// Seconds for which the end stays before it all begins again.
const HOLD: f64 = 5.0;
const CYCLE: f64 = PLAY + HOLD;

const WIDTH: f64 = 800.0;
const MARGIN: f64 = 24.0;
/// The height of the drawing above the terminal.
const DRAWING: f64 = 168.0;
const TERMINAL: f64 = 382.0;
const HEIGHT: f64 = DRAWING + TERMINAL;
const LINE: f64 = 20.0;
/// Seconds for which the terminal scrolls to make room for a line.
const SCROLL: f64 = 0.15;
const FONT_SIZE: f64 = 14.0;
/// The width of a character; each text is fitted to it, whatever font a browser has.
const CHARACTER: f64 = 8.4;

const BACKGROUND: &str = "#0d1117";
const FRAME: &str = "#30363d";

/// The elements and the style sheet of the picture.
#[derive(Default)]
struct Picture {
    body: String,
    style: String,
    animations: u32,
}

/// The picture that plays what the demo showed.
pub(crate) fn draw(entries: &[Entry]) -> String {
    let mut picture = Picture::default();
    let timeline = timeline(entries);
    terminal(&mut picture, entries, &timeline);
    drawing(&mut picture, entries, &timeline);

    let Picture { body, style, .. } = picture;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="title description" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="{FONT_SIZE}">
<title id="title">cargo xtask demo</title>
<desc id="description">A terminal and a drawing. nginx in a pod serves a client; a rule takes one user's requests to a laptop; another rule takes the whole port; the daemon is killed and nginx serves again; nothing stays behind.</desc>
<style>
.box {{ fill: #161b22; stroke: {FRAME} }}
.name {{ fill: #c9d1d9; text-anchor: middle }}
.small {{ fill: #8b949e; font-size: 12px }}
.edge {{ fill: none; stroke: {FRAME}; stroke-width: 2 }}
.lit {{ fill: none; stroke-width: 2; stroke-dasharray: 5 5; animation: flow .6s linear infinite }}
.app {{ stroke: #3fb950 }}
.laptop {{ stroke: #58a6ff }}
.step {{ fill: #f0f6fc; font-weight: bold }}
.prompt {{ fill: #58a6ff }}
.command {{ fill: #c9d1d9 }}
.output {{ fill: #f0f6fc; font-weight: bold }}
.rule {{ fill: #d29922 }}
.ok {{ fill: #3fb950 }}
.checked {{ fill: #8b949e }}
.end {{ fill: #3fb950; font-weight: bold }}
.cover {{ fill: {BACKGROUND}; opacity: 0 }}
.later {{ opacity: 0 }}
@keyframes flow {{ to {{ stroke-dashoffset: -10 }} }}
{style}@media (prefers-reduced-motion: reduce) {{ * {{ animation: none !important }} }}
</style>
<rect x=".5" y=".5" width="{}" height="{}" rx="10" fill="{BACKGROUND}" stroke="{FRAME}"/>
{body}</svg>
"##,
        WIDTH - 1.0,
        HEIGHT - 1.0,
    )
}

/// When each entry begins, in seconds. The last one begins at [`PLAY`].
fn timeline(entries: &[Entry]) -> Vec<f64> {
    let mut now = 0.0;
    let mut begins = Vec::new();
    for entry in entries {
        // The first line stands there from the beginning.
        if !begins.is_empty() && matches!(entry, Entry::Step(_) | Entry::End(_)) {
            now += 0.6;
        }
        begins.push(now);
        now += typing(entry)
            + match entry {
                Entry::Step(_) => 0.7,
                Entry::Command { .. } | Entry::Rule(_) => 0.3,
                Entry::Output(_) | Entry::Checked(_) => 0.7,
                Entry::Traffic(_) | Entry::End(_) => 0.0,
            };
    }
    let last = begins.last().copied().unwrap_or_default().max(1.0);
    begins.iter().map(|begin| begin / last * PLAY).collect()
}

/// For how long an entry is typed, in seconds before the timeline is stretched.
fn typing(entry: &Entry) -> f64 {
    match entry {
        Entry::Command { text, .. } => 0.03 * text.chars().count() as f64,
        Entry::Rule(text) => 0.015 * text.chars().count() as f64,
        _ => 0.0,
    }
}

// --- the terminal -----------------------------------------------------------------------------

/// Draws the lines, which scroll when they do not all fit.
fn terminal(picture: &mut Picture, entries: &[Entry], timeline: &[f64]) {
    _ = writeln!(
        picture.body,
        r#"<svg y="{DRAWING}" width="{WIDTH}" height="{TERMINAL}" overflow="hidden"><g class="scroll">"#
    );
    let mut y = MARGIN;
    let mut scrolled = vec![(0.0, 0.0)];
    for (index, entry) in entries.iter().enumerate() {
        let begin = timeline[index];
        let end = timeline.get(index + 1).copied().unwrap_or(CYCLE);
        let indent = MARGIN + 2.0 * CHARACTER;
        let mut line = String::new();
        match entry {
            Entry::Traffic(_) => continue,
            Entry::Step(title) => {
                if index > 0 {
                    y += LINE / 2.0;
                }
                text(&mut line, MARGIN, y, "step", title);
            }
            Entry::Command { host, text: command } => {
                let prompt = format!("{host}$");
                let x = text(&mut line, indent, y, "prompt", &prompt) + CHARACTER;
                text(&mut line, x, y, "command", command);
                picture.typed(&mut line, x, y, shown(command).chars().count(), (begin, end));
            }
            Entry::Rule(rule) => {
                text(&mut line, indent, y, "rule", rule);
                picture.typed(&mut line, indent, y, shown(rule).chars().count(), (begin, end));
            }
            Entry::Output(output) => _ = text(&mut line, indent, y, "output", output),
            Entry::Checked(fact) => {
                let x = text(&mut line, indent, y, "ok", "ok") + CHARACTER;
                text(&mut line, x, y, "checked", fact);
            }
            Entry::End(end) => {
                y += LINE / 2.0;
                text(&mut line, MARGIN, y, "end", end);
            }
        }
        picture.visible(&line, begin, CYCLE);
        let hidden = y + MARGIN - TERMINAL;
        if hidden > 0.0 {
            scrolled.push((begin, hidden));
        }
        y += LINE;
    }
    picture.body += "</g></svg>\n";
    picture.scroll(&scrolled);
}

/// Adds a text, and returns the place behind it.
fn text(line: &mut String, x: f64, y: f64, class: &str, content: &str) -> f64 {
    let content = shown(content);
    let width = CHARACTER * content.chars().count() as f64;
    let escaped = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    _ = write!(
        line,
        r#"<text class="{class}" x="{x:.1}" y="{y}" textLength="{width:.1}" lengthAdjust="spacingAndGlyphs" xml:space="preserve">{escaped}</text>"#
    );
    x + width
}

// === impl Picture ===

impl Picture {
    /// Shows `content` from `begin` to `end`, in seconds.
    fn visible(&mut self, content: &str, begin: f64, end: f64) {
        let name = self.name();
        let (from, to) = (percent(begin), percent(end));
        let (before, after) = ((from - 0.01).max(0.0), (to + 0.01).min(100.0));
        let mut frames = String::new();
        if from > 0.0 {
            _ = write!(frames, "0%,{before:.2}% {{ opacity: 0 }} ");
        }
        _ = write!(frames, "{from:.2}%,{to:.2}% {{ opacity: 1 }}");
        if to < 100.0 {
            _ = write!(frames, " {after:.2}%,100% {{ opacity: 0 }}");
        }
        _ = writeln!(self.style, "@keyframes {name} {{ {frames} }}");
        _ = writeln!(self.style, ".{name} {{ animation: {name} {CYCLE}s linear infinite }}");
        // Without animations only the last state shows.
        let later = if to < 100.0 { " later" } else { "" };
        _ = writeln!(self.body, r#"<g class="{name}{later}">{content}</g>"#);
    }

    /// Covers a text of this many characters, and uncovers one after the other between two times.
    fn typed(&mut self, line: &mut String, x: f64, y: f64, count: usize, (begin, end): (f64, f64)) {
        let name = self.name();
        let width = CHARACTER * count as f64;
        // The rest of the time is for the reader.
        let (from, to) = (percent(begin), percent(begin + 0.75 * (end - begin)));
        let after = to + 0.01;
        _ = writeln!(
            self.style,
            "@keyframes {name} {{ 0%,{from:.2}% {{ opacity: 1; transform: none; \
             animation-timing-function: steps({count}) }} {to:.2}% {{ opacity: 1; \
             transform: translateX({width:.1}px) }} {after:.2}%,100% {{ opacity: 0; \
             transform: translateX({width:.1}px) }} }}"
        );
        _ = writeln!(self.style, ".{name} {{ animation: {name} {CYCLE}s linear infinite }}");
        let (top, height, wide) = (y - FONT_SIZE - 1.0, LINE, width + CHARACTER);
        _ = write!(
            line,
            r##"<g class="cover {name}"><rect x="{x:.1}" y="{top}" width="{wide:.1}" height="{height}"/><rect x="{x:.1}" y="{:.1}" width="{CHARACTER}" height="{}" fill="#8b949e"/></g>"##,
            top + 2.0,
            height - 3.0,
        );
    }

    /// Scrolls the terminal: at each time, in seconds, up by a number of pixels.
    fn scroll(&mut self, scrolled: &[(f64, f64)]) {
        let up = |pixels: f64| format!("{{ transform: translateY(-{pixels}px) }}");
        let mut frames = String::new();
        for ((_, before), (begin, now)) in scrolled.iter().zip(&scrolled[1..]) {
            _ = write!(frames, "{:.2}% {} ", percent(begin - SCROLL), up(*before));
            _ = write!(frames, "{:.2}% {} ", percent(*begin), up(*now));
        }
        let last = up(scrolled.last().map_or(0.0, |(_, pixels)| *pixels));
        _ = writeln!(self.style, "@keyframes scroll {{ 0% {} {frames}100% {last} }}", up(0.0));
        // Without animations the end shows.
        _ = writeln!(self.style, ".scroll {last}");
        _ = writeln!(self.style, ".scroll {{ animation: scroll {CYCLE}s linear infinite }}");
    }

    fn name(&mut self) -> String {
        self.animations += 1;
        format!("a{}", self.animations)
    }
}

/// A time as a part of the cycle.
fn percent(seconds: f64) -> f64 {
    (seconds / CYCLE * 100.0).clamp(0.0, 100.0)
}

// --- the drawing ------------------------------------------------------------------------------

const CLIENT_TO_PORT: &str = "M140 62 H236";
const PORT_TO_APP: &str = "M340 62 H436";
const PORT_TO_RELAY: &str = "M288 80 V130 H326";
const RELAY_TO_APP: &str = "M448 113 V80";
const RELAY_TO_LAPTOP: &str = "M462 130 H646";

fn drawing(picture: &mut Picture, entries: &[Entry], timeline: &[f64]) {
    let body = &mut picture.body;
    _ = writeln!(
        body,
        r##"<path d="M0 {DRAWING} H{WIDTH}" stroke="{FRAME}"/>
<rect class="box" x="216" y="28" width="344" height="64" rx="8" fill-opacity=".5"/>
<text class="small" x="224" y="22">pod web</text>"##
    );
    for path in [CLIENT_TO_PORT, PORT_TO_APP, PORT_TO_RELAY, RELAY_TO_APP, RELAY_TO_LAPTOP] {
        _ = writeln!(body, r#"<path class="edge" d="{path}"/>"#);
    }
    for (x, y, width, name) in [
        (36, 44, 104, "client"),
        (236, 44, 104, "port 8080"),
        (436, 44, 104, "nginx"),
        (326, 113, 136, "interceptor"),
        (646, 113, 118, "laptop"),
    ] {
        _ = writeln!(
            body,
            r#"<rect class="box" x="{x}" y="{y}" width="{width}" height="36" rx="6"/><text class="name" x="{}" y="{}">{name}</text>"#,
            x + width / 2,
            y + 23,
        );
    }

    let states = entries.iter().zip(timeline).filter_map(|(entry, begin)| match entry {
        Entry::Traffic(traffic) => Some((*traffic, *begin)),
        _ => None,
    });
    let states = states.collect::<Vec<_>>();
    for (index, (traffic, begin)) in states.iter().enumerate() {
        let end = states.get(index + 1).map_or(CYCLE, |(_, begin)| *begin);
        picture.visible(&state(*traffic), *begin, end);
    }
}

/// The paths that bytes take in a state.
fn state(traffic: Traffic) -> String {
    let lit = |class: &str, path: &str| format!(r#"<path class="lit {class}" d="{path}"/>"#);
    let label = |x: u32, y: u32, text: &str| {
        format!(r#"<text class="small" x="{x}" y="{y}">{text}</text>"#)
    };
    match traffic {
        Traffic::App => lit("app", CLIENT_TO_PORT) + &lit("app", PORT_TO_APP),
        Traffic::Split => {
            lit("app", CLIENT_TO_PORT)
                + &lit("app", PORT_TO_RELAY)
                + &lit("app", RELAY_TO_APP)
                + &lit("laptop", RELAY_TO_LAPTOP)
                + &label(508, 122, "x-user: debug")
                + &label(456, 106, "others")
        }
        Traffic::Laptop => {
            lit("laptop", CLIENT_TO_PORT)
                + &lit("laptop", PORT_TO_RELAY)
                + &lit("laptop", RELAY_TO_LAPTOP)
        }
        Traffic::Killed => {
            lit("app", CLIENT_TO_PORT)
                + &lit("app", PORT_TO_APP)
                + r##"<rect x="326" y="113" width="136" height="36" rx="6" fill="none" stroke="#f85149"/>"##
                + r##"<path d="M338 131 H450" stroke="#f85149" stroke-width="2"/>"##
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        vec![
            Entry::Step("1. A step".into()),
            Entry::Command { host: "client", text: "curl <here> & there".into() },
            Entry::Output("app".into()),
            Entry::Traffic(Traffic::App),
            Entry::Checked("fine".into()),
            Entry::Traffic(Traffic::Killed),
            Entry::End("done".into()),
        ]
    }

    #[test]
    fn the_last_entry_begins_when_the_play_ends() {
        let timeline = timeline(&entries());
        assert!(timeline.is_sorted());
        assert_eq!(timeline.last(), Some(&PLAY));
    }

    #[test]
    fn texts_are_escaped() {
        let svg = draw(&entries());
        assert!(svg.contains("curl &lt;here&gt; &amp; there"), "{svg}");
    }

    #[test]
    fn no_script_and_nothing_from_elsewhere() {
        let svg = draw(&entries());
        for banned in ["<script", "url(", "href", "@import", "<image"] {
            assert!(!svg.contains(banned), "{banned}");
        }
    }
}
