//! HTTP/2 without TLS, and so gRPC, on a connection whose streams may have different servers. The
//! client begins with its preface, or offers `Upgrade: h2c` (`switch.rs`).
//!
//! ```text
//! client --- up.rs   ---> app            frames pass as they are, at once
//!        <-- down.rs ---
//!        \-- diversion.rs --- server.rs --- target    streams that a rule matches
//! ```
//!
//! The connections of the client and the app are joined frame by frame: preface, SETTINGS, PING,
//! WINDOW_UPDATE, GOAWAY, DATA and all others pass unchanged. There is no endpoint between the two
//! (RFC 9113 calls that an intermediary). Header blocks of the client are decoded on the side, to
//! ask the rules. While no stream has matched, each side gets the very bytes of the other.
//!
//! A stream that matches goes to its target by another connection (`server.rs`). Then, and only
//! then, these things differ:
//!
//! - **Header blocks to the app** are encoded again. The app's table has not seen the fields of the
//!   diverted stream. Names, values, order and the sender's choice of indexing stay.
//! - **Header blocks of a target** are encoded for the client without touching its table, which
//!   follows the app.
//! - **The connection's window, up**: DATA for a target is given back to the client at once. A
//!   frozen target does not stop other streams.
//! - **The connection's window, down**: the app does not know of a target's DATA. `down.rs` keeps
//!   the client's WINDOW_UPDATE back until that is even again.
//! - **Streams**: the app sees gaps in their numbers, which are legal. It gets no frame of a
//!   diverted stream.
//! - **GOAWAY of the app** names at least the highest diverted stream that is open.
//!
//! # Doubt
//!
//! Broken framing, or a header block that can't be decoded: before any stream was diverted, the
//! rest of the connection is a plain pipe to the app. After that, tables and windows differ, so the
//! client gets GOAWAY and both connections end.
//!
//! Nothing is diverted before the app has sent its SETTINGS: it may not speak HTTP/2. A matching
//! request waits for them, and so do the frames behind it.
//!
//! # When a server dies
//!
//! The streams of a target that dies are reset with INTERNAL_ERROR, or with REFUSED_STREAM if the
//! target says that it has not processed them. Other streams go on. A target that can't be reached
//! gets nothing: its streams go to the app. If the app has seen a later stream, or content has
//! arrived, they use a second connection to it.
//!
//! If the app can't be reached from the start, `absent.rs` stands in for it.
//!
//! When the app's connection ends, the client's ends in the same way, by FIN or RST. If streams of
//! a target are open, the app's are reset, the client gets GOAWAY, and the connection ends with the
//! last stream.

mod absent;
mod diversion;
mod down;
mod farewell;
mod joint;
mod limits;
mod link;
mod open;
mod request;
mod respond;
mod server;
mod stop;
mod stream;
mod streams;
mod switch;
mod to_app;
mod up;

use interceptor_wire::http2::{Event, Framer, Sender};

pub(super) use self::switch::{Offer, Switched};
use self::{
    joint::{Ending, Joint},
    limits::MAX_WHOLE,
};
use super::{dial::AppDialError, received::Received, stolen::Stolen, upstream::Upstream};

/// Whether bytes that a server sent before the client may be the beginning of HTTP/2.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    !matches!(Framer::new(Sender::Server, MAX_WHOLE).next(bytes), Event::Broken(_))
}

/// Serves a connection on which the client speaks HTTP/2, until its end. `received` was read from
/// the client. The app may have the beginning of the preface.
pub(super) async fn serve(stolen: &Stolen, app: &Upstream, received: Received) {
    let ending = Joint::new(stolen, &app.stream, received).run().await;
    end(stolen, app, ending).await;
}

/// Serves a connection that has left HTTP/1, until its end.
pub(super) async fn serve_switched(stolen: &Stolen, app: &Upstream, switched: Switched) {
    let ending = Joint::switched(stolen, &app.stream, switched).run().await;
    end(stolen, app, ending).await;
}

/// Serves a connection whose app can't be reached, as long as streams match. `received` was read
/// from the client.
pub(super) async fn serve_without_app(stolen: &Stolen, error: AppDialError, received: Vec<u8>) {
    let why = error.into();
    match Joint::without_app(stolen, why, received).run().await {
        Ending::Closed | Ending::Left => stolen.client.linger().await,
        Ending::ClientFailed(_) => {}
        // The client may have ended without a request, or does not speak HTTP/2 after all.
        Ending::Refused | Ending::AppFailed | Ending::Pipe(..) => {
            stolen.record.record_all(why);
            stolen.client.reset_on_close();
        }
    }
}

async fn end(stolen: &Stolen, app: &Upstream, ending: Ending) {
    match ending {
        Ending::Closed => stolen.client.linger().await,
        Ending::Left => {
            // Fails only if the app is gone.
            let _ = app.stream.finish();
            stolen.client.linger().await;
        }
        Ending::ClientFailed(rest) => {
            app.stream.send_rest(&rest).await;
            app.stream.reset_on_close();
        }
        Ending::AppFailed | Ending::Refused => {
            // What the app sent before is in the send queue, which a reset would throw away.
            stolen.client.drained().await;
            stolen.client.reset_on_close();
        }
        Ending::Pipe(why, before) => {
            why.into_iter().for_each(|why| stolen.record.pipe(why));
            stolen.pass_on(app, before).await;
        }
    }
}
