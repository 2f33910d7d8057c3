//! A line on the terminal that says what is under way, and is erased before anything else is printed.

use std::io::{IsTerminal, Write, stderr};

/// The maximum length of the line, in characters. A terminal does not say how wide it is, and a line that wraps could not be erased.
const WIDTH: usize = 79;

/// The line, on standard error. It shows nothing if standard error is not a terminal.
pub struct Line {
    is_terminal: bool,
    is_shown: bool,
}

impl Line {
    pub fn on_terminal() -> Line {
        Line { is_terminal: stderr().is_terminal(), is_shown: false }
    }

    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Shows this text in place of the one before.
    pub fn show(&mut self, text: &str) {
        self.clear();
        if self.is_terminal {
            self.is_shown = true;
            write(&fitted(text));
        }
    }

    /// Erases the line, to make room for other output.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            // Goes back to the line's beginning, and erases the line (ECMA-48: EL).
            write("\r\x1b[K");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.clear();
    }
}

fn write(text: &str) {
    // If the terminal has gone, nobody looks at it.
    let _ = stderr().write_all(text.as_bytes()).and_then(|()| stderr().flush());
}

fn fitted(text: &str) -> String {
    match text.char_indices().nth(WIDTH) {
        Some(_) => text.chars().take(WIDTH - 1).chain(['…']).collect(),
        None => text.into(),
    }
}

/// The progress of a long list.
pub fn progress(shown: usize, remaining: Option<u64>) -> String {
    match remaining {
        Some(remaining) => {
            let all = (shown as u64).saturating_add(remaining);
            format!("{shown} of {all} pods ({} %)", u128::from(shown as u64) * 100 / u128::from(all.max(1)))
        }
        None => format!("{shown} pods, and more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_many_of_how_many() {
        assert_eq!(progress(500, Some(4500)), "500 of 5000 pods (10 %)");
        assert_eq!(progress(500, None), "500 pods, and more");
        assert_eq!(progress(0, Some(0)), "0 of 0 pods (0 %)");
        assert_eq!(progress(usize::MAX, Some(u64::MAX)), format!("{0} of {0} pods (100 %)", u64::MAX));
    }

    #[test]
    fn is_one_line() {
        assert_eq!(fitted(&"ä".repeat(79)), "ä".repeat(79));
        assert_eq!(fitted(&"ä".repeat(80)), "ä".repeat(78) + "…");
    }
}
