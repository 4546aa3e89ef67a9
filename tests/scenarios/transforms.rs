//! A transform's module is replaced while records pass it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use harness::{
    guests::stamps,
    load::{
        control::Control,
        options::{Options, Until},
        run::run,
    },
    ndjson::Journal,
    process::Setup,
};

use crate::support::{DEADLINE, eventually, file, lively, settled, setup};

/// An agent whose every record passes `modules/stamps.wasm`, for now build 1.
fn stamping() -> (Setup, PathBuf) {
    let setup = setup().file("archive");
    let path = setup.directory().join("modules/stamps.wasm");
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, stamps(1)).unwrap();
    let config = format!(
        "[[indexes]]\nmatch = \"*\"\ndestinations = [\"archive\"]\ntransform = \"stamps\"\n\
         [transforms.stamps]\npath = {path:?}\n"
    );
    (setup.config(&config), path)
}

/// The builds that ran on the records of each file, in the order of the file; `None` where no transform did.
fn builds(output: &Path) -> BTreeMap<PathBuf, Vec<Option<u32>>> {
    let Ok(files) = fs::read_dir(output) else { return BTreeMap::new() };
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        // The last line may be in the making.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let lines =
            text[..whole].lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        // A delete has no body that could bear a stamp.
        let stamps = lines.filter(|line| line["action"] != "delete");
        let builds = stamps.map(|line| line["data"]["build"].as_str().map(|build| build.parse().unwrap()));
        (path.clone(), builds.collect())
    };
    files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some()).map(read).collect()
}

async fn arrives(output: &Path, number: u32) {
    let newest = || builds(output).into_values().flatten().flatten().max();
    eventually(&format!("records of build {number} arrive"), || std::future::ready(newest() == Some(number)))
        .await;
}

/// Scenario: under load the module is renamed into place, rewritten where it lies, swapped by links as Kubernetes does,
/// replaced by halves and by what is no module, and deleted.
///
/// Protects G7 and G8: every record arrives once, through one whole module, in order of the modules; what is refused is
/// told, and the one before goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_is_replaced_under_load() {
    let (setup, path) = stamping();
    let folder = path.parent().unwrap();
    let agent = setup.start().await.unwrap();
    let output = agent.output("archive");
    let control = Control::default();
    // The load ends by its control: each of the waits below may take its whole deadline.
    let until = Until::Elapsed(100 * DEADLINE);
    let options = Options { until, control: control.clone(), ..lively() };
    let load = tokio::spawn(run(agent.address(), options));
    arrives(&output, 1).await;

    let new = folder.join("new");
    fs::write(&new, stamps(2)).unwrap();
    fs::rename(&new, &path).unwrap();
    arrives(&output, 2).await;

    fs::write(&path, stamps(3)).unwrap();
    arrives(&output, 3).await;

    let release = |number: u32| {
        let name = format!("..{number}");
        fs::create_dir(folder.join(&name)).unwrap();
        fs::write(folder.join(&name).join("stamps.wasm"), stamps(number)).unwrap();
        symlink(&name, &new).unwrap();
        fs::rename(&new, folder.join("..data")).unwrap();
    };
    release(4);
    symlink("..data/stamps.wasm", &new).unwrap();
    fs::rename(&new, &path).unwrap();
    arrives(&output, 4).await;
    release(5);
    fs::remove_dir_all(folder.join("..4")).unwrap();
    arrives(&output, 5).await;

    // From here on build 5 must go on: neither half of another nor anything else runs.
    let told = |what: &str| {
        let (agent, what) = (&agent, what.to_owned());
        async move {
            eventually(&format!("{what:?} is told"), || std::future::ready(agent.stderr().contains(&what)))
                .await
        }
    };
    let half = &stamps(6)[..stamps(6).len() / 2];
    fs::remove_file(&path).unwrap();
    told("the one before goes on serving until the agent is restarted").await;
    for (bad, words) in [
        (half, "damaged or half-written"),
        (&b"\0asm\x01\0\0\0"[..], "is a core WebAssembly module, not a component"),
        (b"export default {}", "is not WebAssembly"),
    ] {
        fs::write(&path, bad).unwrap();
        told(words).await;
    }
    let (before, acknowledged) = (builds(&output), control.acknowledged());
    eventually("more records are accepted", || {
        std::future::ready(control.acknowledged() > acknowledged + 500)
    })
    .await;
    eventually("they arrive", || std::future::ready(builds(&output) != before)).await;
    fs::write(&path, stamps(6)).unwrap();
    arrives(&output, 6).await;

    control.stop();
    let report = load.await.unwrap().unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let mut journal = Journal::new(&output);
    let findings = settled(&report.history, || file(&mut journal)).await;
    assert_eq!((findings.duplicated, findings.rewound), (0, 0), "{findings}");
    for (path, builds) in builds(&output) {
        assert!(builds.iter().all(Option::is_some), "{}: a record passed no module", path.display());
        assert!(builds.is_sorted(), "{}: an older module ran after a newer one", path.display());
    }
    assert_eq!(agent.dead_letters(), []);
}

/// Scenario: the module is gone, or none, when the agent starts; then it is in its place again.
///
/// Protects G8: the agent does not start without it, says which file and why, and delivers nothing untransformed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_does_not_start_without_its_modules() {
    let (setup, path) = stamping();
    let mut agent = setup.write().unwrap();
    fs::remove_file(&path).unwrap();
    for (content, words) in [(None, "there is no file"), (Some("not a module"), "is not WebAssembly")] {
        content.iter().for_each(|content| fs::write(&path, content).unwrap());
        agent.spawn().unwrap();
        let status = agent.ended(DEADLINE).await.unwrap();
        assert_eq!(status.code(), Some(1));
        let stderr = agent.stderr();
        assert!(stderr.contains(words) && stderr.contains("stamps.wasm"), "{stderr}");
        let mut check = Command::new(env!("CARGO_BIN_EXE_sync-agent"));
        let check = check.arg("check").arg(agent.directory().join("config.toml")).output().unwrap();
        assert_eq!(check.status.code(), Some(2));
        let words_of_check = String::from_utf8_lossy(&check.stderr).into_owned();
        assert!(words_of_check.contains(words), "{words_of_check}");
    }
    fs::write(&path, stamps(1)).unwrap();
    agent.restart().await.unwrap();
    let report = crate::support::accepted(&agent, Options { until: Until::Records(50), ..lively() }).await;
    let mut journal = Journal::new(agent.output("archive"));
    settled(&report.history, || file(&mut journal)).await;
    assert!(builds(&agent.output("archive")).into_values().flatten().all(|build| build == Some(1)));
}
