//! Closed sets of label values in `/metrics`, besides those of [`outcome`](crate::outcome).

use crate::vocabulary::words;

words! {
    /// What a rule with a condition or a share decided about a connection or a request: the label
    /// `decision` of `interceptor_decisions_total`.
    pub enum Decision {
        /// The target got it.
        Matched = "matched",
        /// The rule matched, but the target could not be reached; the app got it.
        FellBack = "fell_back",
        /// The condition is true, but an earlier rule took it.
        EarlierRule = "earlier_rule",
        /// The condition is true, but `percent` left it to the app.
        OutsideShare = "outside_share",
        /// The condition is false.
        NoMatch = "no_match",
        /// The condition has no value, as when a header is missing; it does not match.
        Error = "error",
        /// The client fell silent before the condition could be evaluated; the app got the bytes.
        Undecided = "undecided",
    }
}

words! {
    /// Which way bytes flow: the label `direction` of `interceptor_bytes_total`.
    pub enum Direction {
        /// From clients to the target.
        ToTarget = "to_target",
        /// From the target to clients.
        FromTarget = "from_target",
    }
}

words! {
    /// A side of a connection: the label `side` of `interceptor_piped_connections_total` (whose
    /// bytes ended the framing) and of `interceptor_silent_connections_total` (who has vanished).
    pub enum Side {
        /// The client's.
        Client = "caller",
        /// The app's or the target's.
        Server = "server",
    }
}

words! {
    /// Why a connection is still open while the daemon ends: the label `reason` of
    /// `interceptor_draining_connections`.
    pub enum Remaining {
        /// An HTTP/1 request is not complete, or its response is not.
        Request = "request",
        /// HTTP/2 streams are open.
        Stream = "stream",
        /// It is a tunnel after Upgrade or CONNECT, such as a WebSocket.
        Tunnel = "tunnel",
        /// TLS hides its requests.
        Tls = "tls",
        /// Its bytes are not framed.
        Other = "other",
    }
}

words! {
    /// Who answered a request: the label `server` of `interceptor_response_seconds`.
    pub enum Server {
        /// The app.
        App = "app",
        /// The target.
        Target = "target",
    }
}

words! {
    /// Pods of the node: the label `state` of `interceptor_pods`.
    pub enum PodGroup {
        /// Pods with annotations of interceptor.
        Annotated = "annotated",
        /// All other pods.
        Other = "other",
    }
}
