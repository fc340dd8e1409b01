//! The console's token: the config's, or a token that the first start makes and keeps beside the hub's files.

use std::{io::Write, net::SocketAddr, path::PathBuf};

use stagedoor_sqlite::private_file;
use stagedoor_webhook::Secret;

use crate::hub::Hub;

/// The name of the file that keeps a made token.
pub const FILE: &str = "console_token";
/// The least length of a token file, in bytes. A shorter file was not written to its end.
const LEAST: usize = 32;

#[derive(Clone)]
pub struct ConsoleToken {
    secret: Secret,
    /// The file that keeps the token, unless the config names the token.
    file: Option<PathBuf>,
}

impl ConsoleToken {
    /// # Errors
    /// A sentence, when a token cannot be made or kept.
    pub fn of(hub: &Hub) -> Result<Self, String> {
        if let Some(secret) = &hub.config.console_token {
            return Ok(Self { secret: secret.clone(), file: None });
        }
        let file = hub.folder.join(FILE);
        let trouble = |error: &dyn std::fmt::Display| format!("cannot keep the console's token in {FILE}: {error}");
        let mut opened = private_file(&file).map_err(|error| trouble(&error))?;
        let kept = std::fs::read_to_string(&file).map_err(|error| trouble(&error))?;
        let text = match kept.trim() {
            text if text.len() >= LEAST => text.to_owned(),
            _ => {
                let mut drawn = [0; LEAST];
                getrandom::fill(&mut drawn).map_err(|error| trouble(&error))?;
                let text = hex::encode(drawn);
                writeln!(opened, "{text}").map_err(|error| trouble(&error))?;
                text
            }
        };
        Ok(Self { secret: Secret::new(&text), file: Some(file) })
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The console's address with the token as its password. A browser that opens it asks for nothing.
    pub fn link(&self, console: SocketAddr) -> String {
        format!("http://stagedoor:{}@{console}/", self.secret.reveal())
    }

    /// A text about how to open the console. Only a terminal sees the token itself, and never a token of the config.
    pub fn invitation(&self, console: SocketAddr, on_terminal: bool) -> String {
        match &self.file {
            Some(_) if on_terminal => self.link(console),
            Some(file) => format!("http://{console}/ with any name and the password in {}", file.display()),
            None => format!("http://{console}/ with any name and [hub] console_token as the password"),
        }
    }
}
