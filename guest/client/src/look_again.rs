//! Reads from a volume that kubelet may be swapping. The host compiles this file, too.

/// kubelet renews a volume by a new folder, and removes the old one, perhaps while we are on our way through it to a file.
/// So often a file that is not there is looked for; it takes microseconds.
const LOOKS: usize = 20;

/// Reads again while the file is missing, a few times.
pub fn look_again<T, E>(mut read: impl FnMut() -> Result<T, E>, is_missing: impl Fn(&E) -> bool) -> Result<T, E> {
    let mut last = read();
    for _ in 1..LOOKS {
        if !last.as_ref().is_err_and(&is_missing) {
            break;
        }
        last = read();
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it looked, and what it found, when these are what it finds.
    fn looks(found: &[Result<u8, &'static str>]) -> (usize, Result<u8, &'static str>) {
        let mut looks = 0;
        let read = || {
            looks += 1;
            found[(looks - 1).min(found.len() - 1)]
        };
        let last = look_again(read, |error| *error == "missing");
        (looks, last)
    }

    #[test]
    fn a_file_that_was_missing_is_looked_for_again_and_nothing_else_is() {
        assert_eq!(looks(&[Ok(1)]), (1, Ok(1)));
        assert_eq!(looks(&[Err("missing"), Err("missing"), Ok(1)]), (3, Ok(1)));
        assert_eq!(looks(&[Err("missing")]), (LOOKS, Err("missing")));
        assert_eq!(looks(&[Err("unreadable"), Ok(1)]), (1, Err("unreadable")));
    }
}
