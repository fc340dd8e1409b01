//! An SMTP relay (RFC 5321) with mailboxes behind it. It demands AUTH PLAIN (RFC 4954) and commands in their order,
//! and refuses closed mailboxes. Letters that arrived can be read.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mail_parser::{HeaderValue, MessageParser};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

pub const LOGIN: &str = "tour@cherry.example.ru";
pub const PASSWORD: &str = "dev-smtp-password";
/// The limit of a command line in octets, its end included (RFC 5321, section 4.5.3.1.4), with room for AUTH's
/// argument (RFC 4954, section 4).
const LINE: u64 = 12_288;
/// The limit of a letter in octets.
const LETTER: u64 = 10 * 1_024 * 1_024;

/// A letter that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The recipient of the envelope.
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub message_id: String,
    /// The address between the brackets of List-Unsubscribe.
    pub unsubscribe: Option<String>,
    /// True if one POST to that address is enough (RFC 8058).
    pub one_click: bool,
    pub raw: String,
}

/// The fault of the next letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostBreak {
    /// 451 after the letter: the relay does not take it now.
    Busy,
    /// The letter is taken, and the connection ends before the answer.
    AnswerLost,
    /// The connection ends with the greeting.
    Closed,
}

#[derive(Default)]
struct SmtpState {
    arrived: Vec<Delivered>,
    closed: BTreeSet<String>,
    /// Letters that contain this text are not taken now.
    put_off: Option<String>,
    /// The number of tries that were refused for that text.
    held_up: usize,
    breaks: VecDeque<PostBreak>,
}

#[derive(Clone, Default)]
pub struct Post(Arc<Mutex<SmtpState>>);

/// The state of an SMTP session.
#[derive(Default)]
struct Session {
    greeted: bool,
    known: bool,
    from: Option<String>,
    to: Vec<String>,
}

impl Post {
    fn board(&self) -> MutexGuard<'_, SmtpState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All letters that arrived, in order.
    pub fn arrived(&self) -> Vec<Delivered> {
        self.board().arrived.clone()
    }

    /// Refuses letters that contain `words` with a 451 from now on. `None` refuses none.
    pub fn put_off(&self, words: Option<&str>) {
        self.board().put_off = words.map(str::to_owned);
    }

    /// The number of tries to send a letter that were refused for its words.
    pub fn held_up(&self) -> usize {
        self.board().held_up
    }

    /// Closes a mailbox from now on.
    pub fn close(&self, address: &str) {
        self.board().closed.insert(address.to_owned());
    }

    pub fn break_next(&self, how: PostBreak) {
        self.board().breaks.push_back(how);
    }

    /// Serves until the task is dropped.
    ///
    /// # Errors
    /// When the listener breaks.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            let own = self.clone();
            tokio::spawn(async move { own.conversation(stream).await });
        }
    }

    fn breaks(&self, when: &[PostBreak]) -> Option<PostBreak> {
        let mut board = self.board();
        let due = board.breaks.front().is_some_and(|how| when.contains(how));
        if due { board.breaks.pop_front() } else { None }
    }

    async fn conversation(self, mut stream: TcpStream) -> std::io::Result<()> {
        if self.breaks(&[PostBreak::Closed]).is_some() {
            return Ok(());
        }
        let (reader, mut writer) = stream.split();
        let mut reader = BufReader::new(reader);
        let mut session = Session::default();
        writer.write_all(b"220 post.sandbox ESMTP\r\n").await?;
        loop {
            let mut line = String::new();
            if (&mut reader).take(LINE).read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            let verb = line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
            if verb == "DATA" && !session.to.is_empty() {
                writer.write_all(b"354 go on\r\n").await?;
                let letter = read_letter(&mut reader).await?;
                let Some(answer) = self.take(&mut session, &letter) else { return Ok(()) };
                writer.write_all(answer).await?;
                continue;
            }
            writer.write_all(self.answer(&mut session, &verb, line).as_bytes()).await?;
            if verb == "QUIT" {
                return Ok(());
            }
        }
    }

    fn answer(&self, session: &mut Session, verb: &str, line: &str) -> String {
        let text = match verb {
            "EHLO" | "HELO" => {
                *session = Session { greeted: true, known: session.known, ..Session::default() };
                "250-post.sandbox\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN"
            }
            "NOOP" => "250 2.0.0 fine",
            "RSET" => {
                (session.from, session.to) = (None, vec![]);
                "250 2.0.0 forgotten"
            }
            "QUIT" => "221 2.0.0 goodbye",
            _ if !session.greeted => "503 5.5.1 EHLO comes first",
            "AUTH" => {
                session.known = is_ours(line);
                if session.known { "235 2.7.0 welcome" } else { "535 5.7.8 authentication credentials invalid" }
            }
            "MAIL" | "RCPT" | "DATA" if !session.known => "530 5.7.0 authentication required",
            "MAIL" if session.from.is_some() => "503 5.5.1 one sender",
            "MAIL" => match path(line) {
                Some(from) => {
                    session.from = Some(from);
                    "250 2.1.0 fine"
                }
                None => "501 5.1.7 that is no address",
            },
            "RCPT" if session.from.is_none() => "503 5.5.1 MAIL comes first",
            "RCPT" => match path(line) {
                Some(to) if self.board().closed.contains(&to) => "550 5.1.1 no such mailbox",
                Some(to) => {
                    session.to.push(to);
                    "250 2.1.5 fine"
                }
                None => "501 5.1.3 that is no address",
            },
            "DATA" => "503 5.5.1 RCPT comes first",
            _ => "500 5.5.2 no such command",
        };
        format!("{text}\r\n")
    }

    /// Takes a letter. `None` breaks the connection.
    fn take(&self, session: &mut Session, letter: &[u8]) -> Option<&'static [u8]> {
        let broken = self.breaks(&[PostBreak::Busy, PostBreak::AnswerLost]);
        let to = std::mem::take(&mut session.to);
        session.from = None;
        if broken == Some(PostBreak::Busy) {
            return Some(b"451 4.3.0 not now\r\n");
        }
        let Some(read) = read(letter) else { return Some(b"554 5.6.0 that is no letter\r\n") };
        let mut board = self.board();
        if board.put_off.as_ref().is_some_and(|words| read.text.contains(words)) {
            board.held_up += 1;
            return Some(b"451 4.7.1 try again later\r\n");
        }
        board.arrived.extend(to.into_iter().map(|to| Delivered { to, ..read.clone() }));
        match broken {
            Some(_) => None,
            None => Some(b"250 2.0.0 taken\r\n"),
        }
    }
}

async fn read_letter(reader: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut letter = Vec::new();
    let mut limited = reader.take(LETTER);
    loop {
        let from = letter.len();
        if limited.read_until(b'\n', &mut letter).await? == 0 {
            // A letter without an end (RFC 5321, section 4.1.1.4), or a letter that is too long, is none.
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match letter.get(from..) {
            Some(b".\r\n") => {
                letter.truncate(from);
                return Ok(letter);
            }
            // A line that begins with two points has one of its own; the other is transparency (RFC 5321, section
            // 4.5.2).
            Some([b'.', b'.', ..]) => _ = letter.remove(from),
            _ => {}
        }
    }
}

fn is_ours(line: &str) -> bool {
    let given = line.split_whitespace().nth(2).and_then(|text| STANDARD.decode(text).ok());
    given.is_some_and(|bytes| bytes == format!("\0{LOGIN}\0{PASSWORD}").as_bytes())
}

/// The address in `MAIL FROM:<…>`.
fn path(line: &str) -> Option<String> {
    let (_, rest) = line.split_once('<')?;
    let (address, _) = rest.split_once('>')?;
    address.contains('@').then(|| address.to_owned())
}

fn read(letter: &[u8]) -> Option<Delivered> {
    let parsed = MessageParser::default().parse(letter)?;
    let text_of = |value: Option<&HeaderValue<'_>>| match value {
        Some(HeaderValue::Text(text)) => Some(text.trim().to_owned()),
        Some(HeaderValue::Address(address)) => {
            address.first().and_then(|one| one.address.as_ref().map(|a| a.to_string()))
        }
        _ => None,
    };
    let header = |name: &str| {
        let raw = parsed.header_raw(name).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        raw.or_else(|| text_of(parsed.header(name)))
    };
    let unsubscribe = header("List-Unsubscribe");
    let between = |text: &String| Some(text.split_once('<')?.1.split_once('>')?.0.to_owned());
    Some(Delivered {
        to: String::new(),
        subject: parsed.subject()?.to_owned(),
        text: parsed.body_text(0)?.replace("\r\n", "\n"),
        html: parsed.body_html(0).unwrap_or_default().into_owned(),
        message_id: parsed.message_id()?.to_owned(),
        unsubscribe: unsubscribe.as_ref().and_then(between),
        one_click: header("List-Unsubscribe-Post").as_deref() == Some("List-Unsubscribe=One-Click"),
        raw: String::from_utf8_lossy(letter).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends the whole text and hangs up.
    async fn said(text: &str) -> Post {
        let post = Post::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut stream = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        let (served, _) = listener.accept().await.expect("a connection");
        let login = STANDARD.encode(format!("\0{LOGIN}\0{PASSWORD}"));
        let begin =
            format!("EHLO hub\r\nAUTH PLAIN {login}\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n");
        stream.write_all(format!("{begin}{text}").as_bytes()).await.expect("written");
        stream.shutdown().await.expect("hung up");
        _ = post.clone().conversation(served).await;
        post
    }

    const LETTER: &str = "DATA\r\nSubject: Hello\r\nMessage-ID: <1@example.com>\r\n\r\nCome!\r\n";

    #[tokio::test]
    async fn a_letter_that_breaks_off_has_not_arrived() {
        assert_eq!(said(&format!("{LETTER}.\r\n")).await.arrived().len(), 1);
        assert_eq!(said(LETTER).await.arrived().len(), 0);
        assert_eq!(said("RSET\r\nDATA\r\n").await.arrived().len(), 0);
    }
}
