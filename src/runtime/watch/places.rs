//! Which directories tell of a change: the one that holds the file, and each that holds a link on the way to it.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
};

/// As many links are followed as the system follows.
const LINKS_MAX: usize = 40;

/// The directories whose entries decide which file a path means now. Kubernetes replaces the link `..data` in the
/// directory of the path, a deployment perhaps one further up. Of a path that leads nowhere, the directory in which the
/// next part would appear.
#[must_use]
pub fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let Ok(absolute) = std::path::absolute(path) else { return found };
    let mut at = PathBuf::from("/");
    let mut left = parts(&absolute);
    let mut links = 0;
    while let Some(part) = left.pop() {
        match part {
            Part::Root => at = PathBuf::from("/"),
            // Every link on the way here has been followed, so this is where the system goes too.
            Part::Parent => drop(at.pop()),
            Part::Name(name) => {
                let next = at.join(name);
                match fs::symlink_metadata(&next) {
                    Ok(metadata) if metadata.is_symlink() => {
                        found.insert(at.clone());
                        links += 1;
                        match fs::read_link(&next) {
                            Ok(target) if links <= LINKS_MAX => left.append(&mut parts(&target)),
                            _ => return found,
                        }
                    }
                    Ok(_) if left.is_empty() => drop(found.insert(at.clone())),
                    Ok(_) => at = next,
                    Err(_) => {
                        found.insert(at);
                        return found;
                    }
                }
            }
        }
    }
    found
}

enum Part {
    Root,
    Parent,
    Name(OsString),
}

/// The parts of a path, the last first.
fn parts(path: &Path) -> Vec<Part> {
    let part = |component: Component<'_>| match component {
        Component::RootDir => Some(Part::Root),
        Component::ParentDir => Some(Part::Parent),
        Component::Normal(name) => Some(Part::Name(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn expected<const N: usize>(places: [PathBuf; N]) -> BTreeSet<PathBuf> {
        places.into()
    }

    /// Every layout in which modules are put, and none that could hang.
    #[test]
    fn each_directory_that_decides_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);

        fs::create_dir_all(at("plain/deeper")).unwrap();
        fs::write(at("plain/a.wasm"), "").unwrap();
        assert_eq!(directories(&at("plain/a.wasm")), expected([at("plain")]));
        assert_eq!(directories(&at("plain/deeper/.././a.wasm")), expected([at("plain")]));
        assert_eq!(directories(&at("plain/none.wasm")), expected([at("plain")]));
        assert_eq!(directories(&at("none/at/all")), expected([root.clone()]), "until it appears");

        // As Kubernetes mounts a config map.
        fs::create_dir_all(at("mount/..1")).unwrap();
        fs::write(at("mount/..1/a.wasm"), "").unwrap();
        symlink("..1", at("mount/..data")).unwrap();
        symlink("..data/a.wasm", at("mount/a.wasm")).unwrap();
        assert_eq!(directories(&at("mount/a.wasm")), expected([at("mount"), at("mount/..1")]));

        // A deployment that swaps a whole directory.
        symlink(at("plain"), at("current")).unwrap();
        assert_eq!(directories(&at("current/a.wasm")), expected([root.clone(), at("plain")]));
        symlink("nowhere/a.wasm", at("dangling")).unwrap();
        assert_eq!(directories(&at("dangling")), expected([root.clone()]));

        symlink("loop", at("loop")).unwrap();
        assert_eq!(directories(&at("loop/a.wasm")), expected([root]));
    }
}
