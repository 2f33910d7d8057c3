//! The host's lines of the scripts that complete command lines. They add to the variables of the component's scripts.

use incluster_core::command_line::Shell;

/// Returns the lines that follow the component's script for a shell.
pub fn lines(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("completion/host.bash"),
        Shell::Zsh => include_str!("completion/host.zsh"),
        Shell::Fish => include_str!("completion/host.fish"),
    }
}
