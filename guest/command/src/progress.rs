//! A line on the terminal that says how far a long list is.

use std::io::{IsTerminal, Write, stderr};

/// The line, on standard error; nothing where that is no terminal.
pub struct Progress {
    is_terminal: bool,
    is_shown: bool,
}

impl Progress {
    pub fn on_terminal() -> Progress {
        Progress { is_terminal: stderr().is_terminal(), is_shown: false }
    }

    pub fn show(&mut self, shown: usize, remaining: Option<u64>) {
        if self.is_terminal {
            self.is_shown = true;
            self.write(&text(shown, remaining));
        }
    }

    /// Makes room for what is to be printed.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            // Back to the line's beginning, and erase it (ECMA-48: EL).
            self.write("\r\x1b[K");
        }
    }

    fn write(&self, text: &str) {
        // A terminal that has gone has nobody to look at it.
        let _ = stderr().write_all(text.as_bytes()).and_then(|()| stderr().flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn text(shown: usize, remaining: Option<u64>) -> String {
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
        assert_eq!(text(500, Some(4500)), "500 of 5000 pods (10 %)");
        assert_eq!(text(500, None), "500 pods, and more");
        assert_eq!(text(0, Some(0)), "0 of 0 pods (0 %)");
        assert_eq!(text(usize::MAX, Some(u64::MAX)), format!("{0} of {0} pods (100 %)", u64::MAX));
    }
}
