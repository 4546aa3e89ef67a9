//! A terminal that is drawn on as a whole, and the keys that are pressed there.
//!
//! While a [`Terminal`] is there, it shows its alternate screen, in raw mode; whatever it showed before is there again
//! afterwards, also after a panic. Only one may be there at a time.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    panic,
    sync::{Mutex, MutexGuard, Once, PoisonError},
    thread,
};

use rustix::{
    io::Errno,
    termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};
use tokio::sync::mpsc;

use super::text::{colourless, cut};

/// See the module's text.
pub(super) struct Terminal {
    colours: bool,
    /// What it shows.
    shown: String,
}

/// Characters in a line, and lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// A key that means something to a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Enter,
    Escape,
    /// Ctrl-C.
    Interrupt,
    Letter(char),
}

/// How the terminal was before; `None` when it is so.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The alternate screen, without a cursor; lines that are too long are cut, not wrapped.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// What lies between is shown at once, by terminals that know this; others pass over it.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";

/// Where a terminal does not tell.
const USUAL: Size = Size { width: 80, height: 24 };
/// Keys that wait to be taken.
const KEYS_MAX: usize = 16;

impl Terminal {
    /// Whether standard input and output are a terminal that can be drawn on.
    pub(super) fn is_there() -> bool {
        let is_dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
        !is_dumb && io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Takes the terminal over.
    pub(super) fn enter() -> io::Result<Self> {
        let mut raw = tcgetattr(io::stdin())?;
        before().get_or_insert_with(|| raw.clone());
        restore_after_a_panic();
        raw.make_raw();
        let terminal = Self {
            colours: anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
            shown: String::new(),
        };
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
        write(ENTER)?;
        Ok(terminal)
    }

    pub(super) fn size(&self) -> Size {
        let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or(USUAL, |size| Size { width: size.ws_col.into(), height: size.ws_row.into() })
    }

    /// Shows these lines and nothing else; those that are too long or too many are cut. Lines that are where they were
    /// before are not even cleared, so that nothing flickers.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let frame = self.frame(lines, self.size());
        if frame != self.shown {
            write(&frame)?;
            self.shown = frame;
        }
        Ok(())
    }

    /// What was drawn may be gone.
    pub(super) fn forget(&mut self) {
        self.shown.clear();
    }

    fn frame(&self, lines: &[String], size: Size) -> String {
        let mut frame = BEGIN.to_owned();
        for (row, line) in (1..=size.height).zip(lines) {
            let line = cut(line, size.width);
            let line = if self.colours { line } else { colourless(&line) };
            // Overwritten first, and then cleared behind; behind a full line that would clear its last character.
            let clear = if colourless(&line).chars().count() < size.width { "\x1b[K" } else { "" };
            let _ = write!(frame, "\x1b[{row};1H{line}\x1b[0m{clear}");
        }
        if lines.len() < size.height {
            let _ = write!(frame, "\x1b[{};1H\x1b[J", lines.len() + 1);
        }
        frame + END
    }

    /// The keys that are pressed from now on; ends when nobody is there any more.
    pub(super) fn keys(&self) -> mpsc::Receiver<Key> {
        let (tx, rx) = mpsc::channel(KEYS_MAX);
        // It waits in a system call that nothing ends but a key or the process.
        thread::spawn(move || {
            let mut buffer = [0; 64];
            loop {
                let read = match rustix::io::read(io::stdin(), &mut buffer) {
                    Ok(0) => return,
                    Ok(read) => read,
                    Err(Errno::INTR) => continue,
                    Err(_) => return,
                };
                for key in keys_of(&buffer[..read]) {
                    if tx.blocking_send(key).is_err() {
                        return;
                    }
                }
            }
        });
        rx
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn before() -> MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// There is nobody left to tell if that fails.
fn restore() {
    if let Some(before) = before().take() {
        let _ = write(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &before);
    }
}

/// A panic's message must not be lost with the alternate screen.
fn restore_after_a_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            tell(panic);
        }));
    });
}

/// The keys of what was read at once. An escape that nothing follows is the key of that name.
fn keys_of(mut bytes: &[u8]) -> Vec<Key> {
    const SEQUENCES: [(&[u8], Key); 6] = [
        (b"\x1b[A", Key::Up),
        (b"\x1bOA", Key::Up),
        (b"\x1b[B", Key::Down),
        (b"\x1bOB", Key::Down),
        (b"\x1b[5~", Key::PageUp),
        (b"\x1b[6~", Key::PageDown),
    ];
    let mut keys = Vec::new();
    while let [first, rest @ ..] = bytes {
        if let Some((sequence, key)) = SEQUENCES.iter().find(|(sequence, _)| bytes.starts_with(sequence)) {
            keys.push(*key);
            bytes = &bytes[sequence.len()..];
            continue;
        }
        bytes = match (first, rest) {
            (0x1b, []) => {
                keys.push(Key::Escape);
                rest
            }
            // A key that means nothing here: up to the letter that ends its sequence.
            (0x1b, [b'[' | b'O', sequence @ ..]) => {
                let end = sequence.iter().position(|byte| (0x40..=0x7e).contains(byte));
                &sequence[end.map_or(sequence.len(), |end| end + 1)..]
            }
            (0x1b, [_, rest @ ..]) => rest,
            (0x03, _) => {
                keys.push(Key::Interrupt);
                rest
            }
            (b'\r' | b'\n', _) => {
                keys.push(Key::Enter);
                rest
            }
            (letter @ b' '..=b'~', _) => {
                keys.push(Key::Letter((*letter).into()));
                rest
            }
            _ => rest,
        };
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        assert_eq!(keys_of(b"\x1b"), [Key::Escape]);
        assert_eq!(keys_of(b"\x1b[Aj\x1bOB\r"), [Key::Up, Key::Letter('j'), Key::Down, Key::Enter]);
        assert_eq!(keys_of(b"\x1b[5~\x1b[6~\x03"), [Key::PageUp, Key::PageDown, Key::Interrupt]);
        // Keys that nobody knows: F5, Shift-Up, Alt-x, an umlaut, half of a sequence.
        assert_eq!(keys_of(b"\x1b[15~\x1b[1;2A\x1bx\xc3\xa4q\x1b["), [Key::Letter('q')]);
    }

    /// Every line is in its place, nothing is wrapped, and nothing of what was there before is left.
    #[test]
    fn a_frame_covers_the_whole_terminal() {
        let mut terminal = Terminal { colours: true, shown: String::new() };
        let lines = ["\x1b[1mlonger\x1b[0m than that".to_owned(), "b".to_owned()];
        let frame = terminal.frame(&lines, Size { width: 8, height: 3 });
        assert_eq!(
            frame,
            format!(
                "{BEGIN}\x1b[1;1H\x1b[1mlonger\x1b[0m …\x1b[0m\x1b[2;1Hb\x1b[0m\x1b[K\x1b[3;1H\x1b[J{END}"
            )
        );
        terminal.colours = false;
        let frame = terminal.frame(&lines, Size { width: 80, height: 1 });
        assert_eq!(frame, format!("{BEGIN}\x1b[1;1Hlonger than that\x1b[0m\x1b[K{END}"));
    }
}
