//! Tells those whose requests are durable. While more requests wait, a thread of its own does that: to wake somebody
//! takes long enough that the writer would lose a tenth of its time to it.

use std::{
    io,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use super::interface::{AppendError, Appended};

/// To whoever waits for a request.
pub(super) type Answer = oneshot::Sender<Result<Appended, AppendError>>;

/// What is to be told to whom.
pub(super) type Answers = Vec<(Answer, Appended)>;

/// The thread. However it is dropped, what it was given is told before.
#[derive(Debug)]
pub(super) struct Answerer {
    /// Holds at most what is in flight: nobody is asked twice. `None` once no more will come.
    answers: Option<mpsc::Sender<Answers>>,
    thread: Option<JoinHandle<()>>,
}

impl Answerer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the operating system gives none.
    pub(super) fn start() -> io::Result<Self> {
        let (answers, given) = mpsc::channel();
        let thread = thread::Builder::new().name("log-answerer".to_owned());
        let thread = thread.spawn(move || given.into_iter().for_each(tell))?;
        Ok(Self { answers: Some(answers), thread: Some(thread) })
    }

    /// Tells them soon.
    pub(super) fn give(&self, answers: Answers) {
        let refused = match &self.answers {
            Some(thread) => thread.send(answers).err().map(|mpsc::SendError(answers)| answers),
            None => Some(answers),
        };
        // The thread is gone, which is no reason to leave anybody waiting.
        refused.into_iter().for_each(tell);
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        self.answers = None;
        // Nothing is left to tell after a panic of the thread either.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Tells them now.
pub(super) fn tell(answers: impl IntoIterator<Item = (Answer, Appended)>) {
    for (answer, appended) in answers {
        reply(answer, Ok(appended));
    }
}

/// Answers a request.
pub(super) fn reply(answer: Answer, result: Result<Appended, AppendError>) {
    // Whoever asked may be gone; the append stands.
    let _ = answer.send(result);
}
