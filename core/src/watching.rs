//! What a guest and its host tell each other of watches.

/// The text of `expired` where a server does not end the initial objects of a watch. A host that hears it tells the next guests by
/// [`LISTS_FIRST_VARIABLE`].
pub const WITHOUT_END: &str = "the server does not end the objects that there are (sendInitialEvents): the next watch lists them";

/// The environment variable by which a host tells a guest that watches are to begin with a list. Its value says nothing.
pub const LISTS_FIRST_VARIABLE: &str = "INCLUSTER_LISTS_FIRST";
