//! Tasks: the numbers that confirm a write, and when each becomes published.
//!
//! Tasks of one index are published in order: one that is published covers every earlier one.

use std::collections::HashMap;

/// When a task becomes published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// Before its write is answered.
    AtOnce,
    /// When it was asked for this often.
    AfterPolls(u32),
    /// Not until a test says otherwise.
    Never,
}

pub(super) struct Tasks {
    pub(super) publish: Publish,
    last: i64,
    indexes: HashMap<String, IndexTasks>,
}

#[derive(Default)]
struct IndexTasks {
    newest: i64,
    published: i64,
    polls: HashMap<i64, u32>,
}

impl Tasks {
    pub(super) fn new(publish: Publish) -> Self {
        Self { publish, last: 1_514_562_690_000, indexes: HashMap::new() }
    }

    /// A new task of the index.
    pub(super) fn create(&mut self, index: &str) -> i64 {
        self.last += 1;
        let tasks = self.indexes.entry(index.to_owned()).or_default();
        tasks.newest = self.last;
        if self.publish == Publish::AtOnce {
            tasks.published = self.last;
        }
        self.last
    }

    /// Whether the task is published; `None` if the index never had it.
    pub(super) fn poll(&mut self, index: &str, task: i64) -> Option<bool> {
        let tasks = self.indexes.get_mut(index).filter(|tasks| task <= tasks.newest)?;
        if task <= tasks.published {
            return Some(true);
        }
        let polls = tasks.polls.entry(task).or_default();
        *polls += 1;
        let due = match self.publish {
            Publish::AtOnce => true,
            Publish::AfterPolls(count) => *polls >= count,
            Publish::Never => false,
        };
        if due {
            tasks.published = task;
            tasks.polls.retain(|&polled, _| polled > task);
        }
        Some(due)
    }
}
