//! Texts about watches that a guest and its host exchange.

/// The text of the error `expired` where a server does not mark the end of a watch's initial objects. A host that sees it sets
/// [`LISTS_FIRST_VARIABLE`] for the guests that follow.
pub const WITHOUT_END: &str = "the server marks no end of the initial objects (sendInitialEvents): the next watch lists them";

/// The environment variable by which a host tells a guest to begin watches with a list. Its value has no meaning.
pub const LISTS_FIRST_VARIABLE: &str = "INCLUSTER_LISTS_FIRST";
