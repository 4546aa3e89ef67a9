use super::*;

const ENGINE: u64 = 0x1234;

fn module(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn kept(cache: &Cache, byte: u8) -> Option<Vec<u8>> {
    cache.get(&module(byte)).map(|code| code.bytes().to_vec())
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The only `.code` in the directory.
fn file(dir: &Path) -> PathBuf {
    let names = files(dir);
    let mut code = names.iter().filter(|name| name.ends_with(".code"));
    let path = dir.join(code.next().expect("one is kept"));
    assert_eq!(code.next(), None);
    path
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// What was compiled comes back after a restart, to nobody but this user.
#[test]
fn code_comes_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("transforms");
    let cache = Cache::open(&dir, ENGINE).unwrap();
    assert_eq!(kept(&cache, 1), None);
    cache.put(&module(1), b"code");
    cache.put(&module(1), b"newer");
    drop(cache);
    let cache = Cache::open(&dir, ENGINE).unwrap();
    assert_eq!(kept(&cache, 1).as_deref(), Some(&b"newer"[..]));
    assert_eq!(kept(&cache, 2), None);
    assert_eq!((mode(&dir), mode(&file(&dir)), mode(&dir.join("key"))), (0o700, 0o600, 0o600));
    cache.remove(&module(1));
    assert_eq!(kept(&cache, 1), None);
}

/// G8: whatever was done to a file, its code is not handed on, and the next one is written in its place.
#[test]
fn what_this_agent_did_not_write_is_never_handed_on() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), ENGINE).unwrap();
    cache.put(&module(1), b"code");
    let (path, good) = (file(folder.path()), fs::read(file(folder.path())).unwrap());
    let flipped = (0..good.len()).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    });
    let cut = (0..good.len()).map(|length| good[..length].to_vec());
    let longer = [[&good[..], b"x"].concat()];
    for bytes in flipped.chain(cut).chain(longer) {
        fs::write(&path, &bytes).unwrap();
        assert_eq!(kept(&cache, 1), None, "{bytes:?}");
        assert!(!path.exists(), "it is not looked at twice");
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(kept(&cache, 1).as_deref(), Some(&b"code"[..]));

    // Whole, but of another module, of another engine, by another agent.
    fs::copy(&path, cache.path(&module(2))).unwrap();
    assert_eq!(kept(&cache, 2), None);
    let other = Cache::open(folder.path(), ENGINE + 1).unwrap();
    fs::copy(&path, other.path(&module(1))).unwrap();
    assert_eq!(kept(&other, 1), None);
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = Cache::open(elsewhere.path(), ENGINE).unwrap();
    fs::copy(&path, stranger.path(&module(1))).unwrap();
    assert_eq!(kept(&stranger, 1), None);

    // A link to a good file is none of ours.
    let link = cache.path(&module(3));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(kept(&cache, 3), None);
}

/// A key that others know proves nothing; a short one neither.
#[test]
fn a_key_that_is_not_this_agents_alone_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let damage: [fn(&Path); 4] = [
        |path| fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap(),
        |path| fs::write(path, [7; 31]).unwrap(),
        |path| fs::write(path, [7; 33]).unwrap(),
        |path| {
            let target = path.with_file_name("target");
            fs::rename(path, &target).unwrap();
            std::os::unix::fs::symlink(target, path).unwrap();
        },
    ];
    for damage in damage {
        Cache::open(folder.path(), ENGINE).unwrap().put(&module(1), b"code");
        let before = fs::read(&path).unwrap();
        damage(&path);
        let cache = Cache::open(folder.path(), ENGINE).unwrap();
        assert_eq!(kept(&cache, 1), None);
        assert_ne!(fs::read(&path).unwrap(), before);
        assert_eq!((mode(&path), fs::read(&path).unwrap().len()), (0o600, 32));
        assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
    }
}

/// G9: what is kept is bounded, and what is used stays; unfinished writes of an earlier life go.
#[test]
fn the_least_recently_used_go() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path(), ENGINE).unwrap();
    for byte in 0..10_u8 {
        cache.put(&module(byte), &[byte; 100]);
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(byte.into());
        File::options().write(true).open(cache.path(&module(byte))).unwrap().set_modified(time).unwrap();
    }
    assert!(kept(&cache, 0).is_some(), "used now");
    cache.shrink(5, u64::MAX).unwrap();
    let left: Vec<u8> = (0..10).filter(|byte| kept(&cache, *byte).is_some()).collect();
    assert_eq!(left, [0, 6, 7, 8, 9]);
    cache.shrink(5, 2 * 140).unwrap();
    assert_eq!(files(folder.path()).len(), 2 + 1, "two files and the key");

    fs::write(folder.path().join("0.new"), b"unfinished").unwrap();
    let _ = Cache::open(folder.path(), ENGINE).unwrap();
    assert!(!folder.path().join("0.new").exists());
}
