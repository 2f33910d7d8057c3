//! The shift for dates before 1970. The library for RFC 3339 times does not support them, so they are converted as the date 2000 years
//! later, and the 2000 years are subtracted again.

/// The length of 2000 years in seconds. The calendar repeats every 400 years, which have 146,097 days.
pub const SECONDS_OF_2000_YEARS: i64 = 5 * 146_097 * 86_400;
