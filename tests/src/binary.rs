//! The binary under test, as a command.

use std::process::{Command, Stdio};

/// Where the binary lies. Made by [`holdfast!`](crate::holdfast).
#[derive(Clone, Copy, Debug)]
pub struct Binary(&'static str);

/// A process that has ended, and what it said.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote for others to read.
    pub stdout: String,
    /// What it wrote for people.
    pub stderr: String,
}

impl Ended {
    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// The only line of its standard error: messages for people are one
    /// sentence.
    #[track_caller]
    pub fn sentence(&self) -> &str {
        let lines: Vec<_> = self
            .stderr
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        match lines[..] {
            [line] => line,
            _ => panic!("not one sentence: {self:#?}"),
        }
    }
}

impl Binary {
    /// The binary at this path.
    pub const fn at(path: &'static str) -> Self {
        Self(path)
    }

    /// Its path.
    pub const fn path(self) -> &'static str {
        self.0
    }

    /// A command with these arguments, without settings of whoever runs the
    /// tests.
    pub fn command<S: AsRef<str>>(self, args: &[S]) -> Command {
        self.command_under::<&str, _>(&[], args)
    }

    /// The same by another program, whose command line comes first.
    pub(crate) fn command_under<W: AsRef<str>, S: AsRef<str>>(
        self,
        wrapper: &[W],
        args: &[S],
    ) -> Command {
        let mut words = wrapper.iter().map(AsRef::as_ref).chain([self.0]);
        let mut command = Command::new(words.next().unwrap_or(self.0));
        command
            .args(words)
            .args(args.iter().map(AsRef::as_ref))
            .stdin(Stdio::null());
        without_our_names(&mut command);
        command
    }

    /// Runs it to its end.
    pub async fn run<S: AsRef<str>>(self, args: &[S]) -> Ended {
        run(self.command(args)).await
    }
}

/// Takes the settings of whoever runs the tests, and the tests' own, out of a
/// command's environment.
pub(crate) fn without_our_names(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOLDFAST_") {
            command.env_remove(name);
        }
    }
}

/// Runs a command to its end; it is ended by force when the patience is over.
pub async fn run(command: Command) -> Ended {
    let what = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    let output = crate::within(&what, command.output()).await;
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}"));
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
