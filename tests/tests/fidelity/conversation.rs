//! Conversations on one connection of a client: who sends which bytes in which pieces, and which
//! bytes each of the three peers must receive.

use std::fmt;

/// The server that a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    App,
    Target,
}

/// All requests on a connection with their responses, and the end of the connection.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    /// The client waits for all responses to a burst before it sends the next one.
    pub(crate) bursts: Vec<Vec<Exchange>>,
    pub(crate) end: End,
}

/// A request, and all responses to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) owner: Owner,
    pub(crate) request: Request,
    /// The 1xx responses before the final one.
    pub(crate) interim: Text,
    pub(crate) response: Text,
    /// The share of the request that the server reads before it responds: 0 is the head, 255 all
    /// bytes that can have arrived.
    pub(crate) read_share: u8,
    /// The cuts of the request, and those of the responses.
    pub(crate) cuts: [Vec<Cut>; 2],
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) head: Text,
    pub(crate) body: Text,
    /// Whether the client sends the body after the interim response.
    pub(crate) expects_continue: bool,
}

/// A pause of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The position in the message, in bytes. A cut behind its end has no effect.
    pub(crate) at: usize,
    /// The length of the pause, in microseconds.
    pub(crate) micros: u64,
}

/// How the connection ends.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The client closes its half when it has all responses.
    Client,
    /// The client closes its half at once, and then waits for responses.
    HalfClose,
    /// The server of the last request closes the connection after its response.
    Server,
    /// The last response ends HTTP on the connection. Then the client and that server send these
    /// bytes.
    Switch([Text; 2]),
    /// The client's last bytes cannot be framed. The app gets them, and responds with its own
    /// bytes.
    Unframeable([Text; 2]),
    /// The client closes in the middle of a request for this server.
    Broken(Owner, Text),
}

/// Bytes with a readable debug format.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) Vec<u8>);

/// The steps of one peer, and the bytes that it must receive.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    pub(crate) expects: Vec<u8>,
}

/// A step of a script.
#[derive(Debug)]
pub(crate) enum Step {
    /// Send these bytes, with pauses.
    Send(Vec<u8>, Vec<Cut>),
    /// Wait until this number of bytes has arrived in total.
    Await(usize),
    /// Wait until the other side has closed.
    AwaitEnd,
    /// Close the sending half.
    Finish,
}

/// The scripts of the three peers.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    pub(crate) client: Script,
    pub(crate) servers: [Script; 2],
}

// === impl Conversation ===

impl Conversation {
    /// The scripts of a conversation.
    pub(crate) fn scripts(&self) -> Scripts {
        let mut scripts = Scripts::default();
        for burst in &self.bursts {
            for run in burst
                .chunk_by(|one, next| one.owner == next.owner && !next.request.expects_continue)
            {
                scripts.run(run);
            }
            let all = scripts.client.expects.len();
            scripts.client.steps.push(Step::Await(all));
        }
        scripts.end(&self.end, self.bursts.iter().flatten().last().map(|last| last.owner));
        scripts
    }

    /// The number of requests for a server, by their heads.
    pub(crate) fn requests_of(&self, owner: Owner) -> usize {
        let whole = self.bursts.iter().flatten().filter(|exchange| exchange.owner == owner).count();
        let last = match &self.end {
            // The head is evaluated before the framing of the chunks.
            End::Unframeable([bytes, _]) => {
                owner == Owner::App && bytes.0.starts_with(b"POST /chunks")
            }
            End::Broken(broken, bytes) => {
                owner == *broken
                    && bytes.0.trim_ascii_start().windows(4).any(|window| window == b"\r\n\r\n")
            }
            _ => false,
        };
        whole + usize::from(last)
    }
}

// === impl Scripts ===

impl Scripts {
    /// Requests for one server that the client sends without waiting, except before the body of the
    /// first.
    fn run(&mut self, run: &[Exchange]) {
        let Some(first) = run.first() else { return };
        let server = &mut self.servers[first.owner as usize];
        let mut heads = Vec::new();
        for exchange in run {
            let Request { head, body, expects_continue } = &exchange.request;
            server.expects.extend_from_slice(&head.0);
            heads.push(server.expects.len());
            self.client.send(&head.0, &exchange.cuts[0]);
            if *expects_continue {
                // Such a request is the first of its run.
                server.steps.push(Step::Await(server.expects.len()));
                server.send(&exchange.interim.0, &[]);
                self.client.expects.extend_from_slice(&exchange.interim.0);
                self.client.steps.push(Step::Await(self.client.expects.len()));
                self.client.send(&body.0, &[]);
            } else {
                self.client.send_part(&body.0, &exchange.cuts[0], head.0.len());
            }
            server.expects.extend_from_slice(&body.0);
        }
        let all = server.expects.len();
        let mut read = 0;
        for (exchange, head) in run.iter().zip(heads) {
            read = read.max(head + (all - head) * usize::from(exchange.read_share) / 255);
            server.steps.push(Step::Await(read));
            let interim =
                if exchange.request.expects_continue { &[][..] } else { &exchange.interim.0 };
            let bytes = [interim, &exchange.response.0].concat();
            server.send(&bytes, &exchange.cuts[1]);
            self.client.expects.extend_from_slice(&bytes);
        }
    }

    fn end(&mut self, end: &End, last: Option<Owner>) {
        let last = last.map_or(0, |last| last as usize);
        match end {
            End::Client => self.client.steps.push(Step::Finish),
            End::HalfClose => {
                // This replaces the wait for the last responses.
                self.client.steps.pop();
                self.client.steps.push(Step::Finish);
            }
            End::Server => self.servers[last].steps.push(Step::Finish),
            End::Switch([from_client, from_server]) => {
                let server = &mut self.servers[last];
                server.send(&from_server.0, &[]);
                server.expects.extend_from_slice(&from_client.0);
                self.client.expects.extend_from_slice(&from_server.0);
                self.client.send(&from_client.0, &[]);
                self.client.steps.extend([Step::Await(self.client.expects.len()), Step::Finish]);
            }
            End::Broken(owner, bytes) => {
                self.servers[*owner as usize].expects.extend_from_slice(&bytes.0);
                self.client.send(&bytes.0, &[]);
                self.client.steps.push(Step::Finish);
            }
            End::Unframeable([bytes, answer]) => {
                let app = &mut self.servers[Owner::App as usize];
                app.expects.extend_from_slice(&bytes.0);
                app.steps.push(Step::Await(app.expects.len()));
                app.send(&answer.0, &[]);
                self.client.expects.extend_from_slice(&answer.0);
                self.client.send(&bytes.0, &[]);
                self.client.steps.extend([Step::Await(self.client.expects.len()), Step::Finish]);
            }
        }
        for script in [&mut self.client].into_iter().chain(&mut self.servers) {
            if !matches!(script.steps.last(), Some(Step::Finish)) {
                script.steps.extend([Step::AwaitEnd, Step::Finish]);
            }
        }
    }
}

// === impl Script ===

impl Script {
    /// Sends bytes. Consecutive sends are one piece, except for cuts.
    fn send(&mut self, bytes: &[u8], cuts: &[Cut]) {
        self.send_part(bytes, cuts, 0);
    }

    /// Sends the part of a message that begins at `from`.
    fn send_part(&mut self, bytes: &[u8], cuts: &[Cut], from: usize) {
        if !matches!(self.steps.last(), Some(Step::Send(..))) {
            self.steps.push(Step::Send(Vec::new(), Vec::new()));
        }
        let Some(Step::Send(pending, all)) = self.steps.last_mut() else { return };
        let inside = cuts.iter().filter(|cut| (from.max(1)..from + bytes.len()).contains(&cut.at));
        all.extend(inside.map(|cut| Cut { at: pending.len() + cut.at - from, ..*cut }));
        all.sort_by_key(|cut| cut.at);
        pending.extend_from_slice(bytes);
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
