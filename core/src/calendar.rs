//! What holds of the calendar: times before 1970, which the library for times (RFC 3339) does not know, are those of 2000 years later, as much earlier.

/// How long 2000 years are: the calendar is the same again after 400, which have 146,097 days.
pub const SECONDS_OF_2000_YEARS: i64 = 5 * 146_097 * 86_400;
