//! Directory entries: as the kernel shows them, and every state that a name went through since its directory was
//! synced. Nothing is assumed of the order in which they reach the disk: a rename may do so by half, and of two
//! removals the later one alone. Journaling file systems do better; nobody promises it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use fastrand::Rng;

use super::mood::Mood;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    /// The file's number.
    File(u64),
}

/// All names of a disk, by whole paths.
#[derive(Debug)]
pub(super) struct Names {
    shown: BTreeMap<PathBuf, Node>,
    /// The durable state of each changed name, and after it what it was changed to.
    unsynced: BTreeMap<PathBuf, Vec<Option<Node>>>,
}

impl Names {
    /// With one directory.
    pub(super) fn new(root: &Path) -> Self {
        Self { shown: [(root.to_owned(), Node::Directory)].into(), unsynced: BTreeMap::new() }
    }

    pub(super) fn get(&self, path: &Path) -> Option<Node> {
        self.shown.get(path).copied()
    }

    pub(super) fn set(&mut self, path: &Path, node: Option<Node>) {
        let before = self.get(path);
        self.unsynced.entry(path.to_owned()).or_insert_with(|| vec![before]).push(node);
        self.show(path, node);
    }

    pub(super) fn list(&self, directory: &Path) -> Vec<OsString> {
        let within = self.shown.keys().filter(|path| path.parent() == Some(directory));
        within.filter_map(|path| Some(path.file_name()?.to_owned())).collect()
    }

    pub(super) fn sync(&mut self, directory: &Path) {
        self.unsynced.retain(|path, _| path.parent() != Some(directory));
    }

    /// The power goes: each name is in one of its states, and a lost directory takes with it what was in it.
    pub(super) fn cut(&mut self, mood: &Mood, rng: &mut Rng) {
        for (path, states) in std::mem::take(&mut self.unsynced) {
            let chosen = mood.names.choose(states.len() - 1, rng);
            self.show(&path, states[chosen]);
        }
        let found = std::mem::take(&mut self.shown);
        for (path, node) in found {
            // Parents come before what is in them.
            let is_root = self.shown.is_empty();
            if is_root || path.parent().is_some_and(|parent| self.get(parent) == Some(Node::Directory)) {
                self.shown.insert(path, node);
            }
        }
    }

    /// The files that have a name, or may have one after a cut.
    pub(super) fn files(&self) -> impl Iterator<Item = u64> {
        let unsynced = self.unsynced.values().flatten().flatten();
        self.shown.values().chain(unsynced).filter_map(|node| match node {
            Node::File(file) => Some(*file),
            Node::Directory => None,
        })
    }

    fn show(&mut self, path: &Path, node: Option<Node>) {
        match node {
            Some(node) => self.shown.insert(path.to_owned(), node),
            None => self.shown.remove(path),
        };
    }
}
