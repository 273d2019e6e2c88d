//! What is said on one connection of a caller, by whom, in which pieces, and what everybody must hear.

use std::fmt;

/// Whose a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    App,
    Laptop,
}

/// All that a caller says, and what he is answered.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    /// The caller waits for all responses to one burst before he says the next.
    pub(crate) bursts: Vec<Vec<Exchange>>,
    pub(crate) end: End,
}

/// A request, and all responses to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) owner: Owner,
    pub(crate) request: Request,
    /// 1xx, before the final one.
    pub(crate) interim: Text,
    pub(crate) response: Text,
    /// How much the server waits for before it answers: 0 is the head of the request, 255 all that it can have.
    pub(crate) patience: u8,
    /// Where the request and the responses are cut.
    pub(crate) cuts: [Vec<Cut>; 2],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) head: Text,
    pub(crate) body: Text,
    /// The body is sent after the interim response.
    pub(crate) waits: bool,
}

/// Where the sender pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// In bytes from the beginning of the message, if it is so long.
    pub(crate) at: usize,
    pub(crate) micros: u64,
}

/// How the connection ends.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The caller says that he is done, when he has all responses.
    Client,
    /// The caller says so at once, and then waits for responses.
    HalfClose,
    /// The server of the last request ends the connection after its response.
    Server,
    /// The last response turns the connection into something else: then the caller and that server say this.
    Switch([Text; 2]),
    /// What the caller says last can't be framed: the application has it, and answers in its way.
    Doubt([Text; 2]),
    /// The caller ends in the middle of a request of this owner.
    Broken(Owner, Text),
}

/// Bytes that can be looked at.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) Vec<u8>);

/// What one of the three has to do, and to hear.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) steps: Vec<Step>,
    pub(crate) hears: Vec<u8>,
}

#[derive(Debug)]
pub(crate) enum Step {
    /// These bytes, with pauses.
    Say(Vec<u8>, Vec<Cut>),
    /// Until so many bytes have been heard in all.
    Await(usize),
    /// Until the other side has ended.
    AwaitEnd,
    /// There is no more to be said.
    Finish,
}

/// The parts of a conversation.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) caller: Part,
    pub(crate) servers: [Part; 2],
}

// === impl Conversation ===

impl Conversation {
    /// What everybody has to do, and to hear.
    pub(crate) fn parts(&self) -> Parts {
        let mut parts = Parts::default();
        for burst in &self.bursts {
            for run in burst.chunk_by(|one, next| one.owner == next.owner && !next.request.waits) {
                parts.run(run);
            }
            let all = parts.caller.hears.len();
            parts.caller.steps.push(Step::Await(all));
        }
        parts.end(&self.end, self.bursts.iter().flatten().last().map(|last| last.owner));
        parts
    }

    /// How many requests are whose, by their heads.
    pub(crate) fn requests_of(&self, owner: Owner) -> usize {
        let whole = self.bursts.iter().flatten().filter(|exchange| exchange.owner == owner).count();
        let last = match &self.end {
            // Chunks are looked at when the head is through.
            End::Doubt([said, _]) => owner == Owner::App && said.0.starts_with(b"POST /chunks"),
            End::Broken(whose, said) => {
                owner == *whose
                    && said.0.trim_ascii_start().windows(4).any(|window| window == b"\r\n\r\n")
            }
            _ => false,
        };
        whole + usize::from(last)
    }
}

// === impl Parts ===

impl Parts {
    /// Requests for one server that the caller says without waiting, the last one's body apart.
    fn run(&mut self, run: &[Exchange]) {
        let Some(first) = run.first() else { return };
        let server = &mut self.servers[first.owner as usize];
        let mut heads = Vec::new();
        for exchange in run {
            let Request { head, body, waits } = &exchange.request;
            server.hears.extend_from_slice(&head.0);
            heads.push(server.hears.len());
            self.caller.say(&head.0, &exchange.cuts[0]);
            if *waits {
                // It is the first of its run.
                server.steps.push(Step::Await(server.hears.len()));
                server.say(&exchange.interim.0, &[]);
                self.caller.hears.extend_from_slice(&exchange.interim.0);
                self.caller.steps.push(Step::Await(self.caller.hears.len()));
                self.caller.say(&body.0, &[]);
            } else {
                self.caller.say_more(&body.0, &exchange.cuts[0], head.0.len());
            }
            server.hears.extend_from_slice(&body.0);
        }
        let all = server.hears.len();
        let mut heard = 0;
        for (exchange, head) in run.iter().zip(heads) {
            heard = heard.max(head + (all - head) * usize::from(exchange.patience) / 255);
            server.steps.push(Step::Await(heard));
            let interim = if exchange.request.waits { &[][..] } else { &exchange.interim.0 };
            let said = [interim, &exchange.response.0].concat();
            server.say(&said, &exchange.cuts[1]);
            self.caller.hears.extend_from_slice(&said);
        }
    }

    fn end(&mut self, end: &End, last: Option<Owner>) {
        let last = last.map_or(0, |last| last as usize);
        match end {
            End::Client => self.caller.steps.push(Step::Finish),
            End::HalfClose => {
                // Instead of the wait for the last responses.
                self.caller.steps.pop();
                self.caller.steps.push(Step::Finish);
            }
            End::Server => self.servers[last].steps.push(Step::Finish),
            End::Switch([callers, servers]) => {
                let server = &mut self.servers[last];
                server.say(&servers.0, &[]);
                server.hears.extend_from_slice(&callers.0);
                self.caller.hears.extend_from_slice(&servers.0);
                self.caller.say(&callers.0, &[]);
                self.caller.steps.extend([Step::Await(self.caller.hears.len()), Step::Finish]);
            }
            End::Broken(owner, said) => {
                self.servers[*owner as usize].hears.extend_from_slice(&said.0);
                self.caller.say(&said.0, &[]);
                self.caller.steps.push(Step::Finish);
            }
            End::Doubt([said, answer]) => {
                let app = &mut self.servers[Owner::App as usize];
                app.hears.extend_from_slice(&said.0);
                app.steps.push(Step::Await(app.hears.len()));
                app.say(&answer.0, &[]);
                self.caller.hears.extend_from_slice(&answer.0);
                self.caller.say(&said.0, &[]);
                self.caller.steps.extend([Step::Await(self.caller.hears.len()), Step::Finish]);
            }
        }
        for part in [&mut self.caller].into_iter().chain(&mut self.servers) {
            if !matches!(part.steps.last(), Some(Step::Finish)) {
                part.steps.extend([Step::AwaitEnd, Step::Finish]);
            }
        }
    }
}

// === impl Part ===

impl Part {
    /// What is said without a wait in between is said in one piece, unless it is cut.
    fn say(&mut self, bytes: &[u8], cuts: &[Cut]) {
        self.say_more(bytes, cuts, 0);
    }

    /// The part of a message that begins at `from`.
    fn say_more(&mut self, bytes: &[u8], cuts: &[Cut], from: usize) {
        if !matches!(self.steps.last(), Some(Step::Say(..))) {
            self.steps.push(Step::Say(Vec::new(), Vec::new()));
        }
        let Some(Step::Say(said, all)) = self.steps.last_mut() else { return };
        let inside = cuts.iter().filter(|cut| (from.max(1)..from + bytes.len()).contains(&cut.at));
        all.extend(inside.map(|cut| Cut { at: said.len() + cut.at - from, ..*cut }));
        all.sort_by_key(|cut| cut.at);
        said.extend_from_slice(bytes);
    }
}

// === impl Text ===

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(600)];
        write!(f, "{:?}", String::from_utf8_lossy(shown))?;
        if shown.len() < self.0.len() { write!(f, "… {} bytes", self.0.len()) } else { Ok(()) }
    }
}

impl<T: Into<Vec<u8>>> From<T> for Text {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}
