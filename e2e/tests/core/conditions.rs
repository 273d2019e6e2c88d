//! A rule with a condition redirects the requests that match, one by one, and no others.

use anyhow::{Context as _, ensure};
use interceptor_e2e::{Kind, Manifest, ask_as, run};

#[test]
fn only_matching_requests_reach_the_target_and_the_app_sees_its_client() {
    run("conditions", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let load = f.load(app.address())?;
        let rule = format!("{} when request.headers[\"x-user\"] == \"debug\"", f.to_laptop());
        app.annotate("debug.redirect/alice", &rule)?;
        app.wait_for("condition=debug.redirect/Active-alice")?;

        let users = ["debug", "other", "debug", "other"];
        let answers = ask_as(app.address(), &users)?;
        let tags: Vec<_> = answers.iter().map(|(tag, _)| tag.as_str()).collect();
        assert_eq!(tags, ["laptop", app.name(), "laptop", app.name()]);
        let directly = app.ask()?.peer.context("no address in the answer")?.ip();
        for (_, peer) in answers.iter().filter(|(tag, _)| tag == app.name()) {
            ensure!(peer.ip() == directly, "{peer}, not {directly}");
        }
        // An invalid condition is refused with its position, and the previous rule stays in force.
        app.annotate("debug.redirect/alice", &rule.replace("headers", "header"))?;
        let refused = app.wait_refused("RuleInvalid")?;
        ensure!(refused.message.contains("headers"), "{}", refused.message);
        assert_eq!(ask_as(app.address(), &["debug"])?[0].0, "laptop");

        app.unannotate("debug.redirect/alice")?;
        app.wait_untouched()?;
        assert_eq!(ask_as(app.address(), &["debug"])?[0].0, app.name());
        let calls = load.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("laptop"), 0, "{calls}");
        Ok(())
    });
}
