//! What the simple programs send that the agent is compared with: the very records that the load consists of, as the agent
//! hands them to destinations.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use harness::load::{
    options::{Choice, Options, Until},
    run::run,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tempfile::TempDir;

use crate::{cli::Bench, ingest::batches, lines::Lines};

/// Records in a request to a destination, as the agent's default has it.
pub(crate) const BATCH_RECORDS: u64 = 1_000;
const DEADLINE: Duration = Duration::from_secs(30);

/// A file with batches of records, gone when this is dropped.
pub(crate) struct Sample {
    _directory: TempDir,
    pub(crate) path: PathBuf,
}

/// Has an agent write so many batches of the load to a file, and keeps that.
pub(crate) async fn sample(bench: &Bench, batches_wanted: u64) -> anyhow::Result<Sample> {
    let wanted = batches_wanted * BATCH_RECORDS;
    let agent = bench.agent()?.file("archive").start().await?;
    let options = Options { until: Until::Records(wanted), choice: Choice::InTurn, ..batches() };
    let report = run(agent.address(), options).await?;
    ensure!(report.problems.is_empty(), "the load met problems: {:?}", report.problems);
    let (start, mut lines) = (Instant::now(), Lines::new(agent.output("archive")));
    while lines.count()? < wanted {
        ensure!(start.elapsed() < DEADLINE, "the sample was not delivered");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sample.ndjson");
    fs::copy(agent.output("archive").join("products.ndjson"), &path).context("keep the sample")?;
    Ok(Sample { _directory: directory, path })
}

/// Records, read by a child from a [`Sample`].
#[derive(Debug)]
pub(crate) struct Records {
    /// As the file destination wrote them.
    pub(crate) lines: Vec<u8>,
    records: Vec<Record>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    index: String,
    object_id: String,
    data: Box<RawValue>,
}

impl Records {
    pub(crate) fn read(path: &PathBuf) -> anyhow::Result<Self> {
        let lines = fs::read(path).with_context(|| format!("read {path:?}"))?;
        let each = lines.split_inclusive(|byte| *byte == b'\n');
        let records = each.map(serde_json::from_slice).collect::<Result<_, _>>().context("read a record")?;
        Ok(Self { lines, records })
    }

    /// The bytes of all of them as a log would keep them: index, id and data, without what frames them.
    pub(crate) fn plain(&self) -> Vec<u8> {
        let parts = self.records.iter().flat_map(|Record { index, object_id, data }| {
            [index.as_bytes(), object_id.as_bytes(), data.get().as_bytes()].concat()
        });
        parts.collect()
    }

    /// The body of a request to Algolia's batch API, with all of them.
    pub(crate) fn algolia(&self) -> Vec<u8> {
        let mut body = br#"{"requests":["#.to_vec();
        for (number, Record { object_id, data, .. }) in self.records.iter().enumerate() {
            let parts = [
                if number == 0 { "" } else { "," },
                r#"{"action":"updateObject","body":{"objectID":""#,
                // Digits and a hyphen: nothing is to be escaped.
                object_id,
                r#"","#,
                data.get().trim_start_matches('{'),
                "}",
            ];
            parts.iter().for_each(|part| body.extend_from_slice(part.as_bytes()));
        }
        body.extend_from_slice(b"]}");
        body
    }

    /// How many batches they are.
    pub(crate) fn batches(&self) -> u64 {
        (self.records.len() as u64).div_ceil(BATCH_RECORDS)
    }

    /// The body of a bulk request with the batch of that number; after the last one comes the first again. `id` makes
    /// each record's id of its own, and its number the version.
    pub(crate) fn bulk(&self, batch: u64, index: &str, version: u64, id: impl Fn(&str) -> String) -> Vec<u8> {
        let mut body = Vec::new();
        let size = BATCH_RECORDS as usize;
        let first = (batch % self.batches()) as usize * size;
        let records = self.records[first..].iter().take(size);
        for (Record { object_id, data, .. }, version) in records.zip(version..) {
            let (id, version) = (id(object_id), version.to_string());
            let parts = [
                r#"{"index":{"_index":""#,
                index,
                r#"","_id":""#,
                &id,
                r#"","version":"#,
                &version,
                ",\"version_type\":\"external_gte\"}}\n",
                data.get(),
                "\n",
            ];
            parts.iter().for_each(|part| body.extend_from_slice(part.as_bytes()));
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The bodies are what the services read: with every record, its id and its attributes.
    #[test]
    fn bodies_hold_every_record() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample");
        let line = |id: &str| {
            format!("{{\"index\":\"i\",\"object_id\":\"{id}\",\"data\":{{\"seq\":1}},\"more\":2}}\n")
        };
        fs::write(&path, line("a-1") + &line("a-2")).unwrap();
        let records = Records::read(&path).unwrap();

        let batch: Value = serde_json::from_slice(&records.algolia()).unwrap();
        assert_eq!(batch["requests"][1]["body"], serde_json::json!({ "objectID": "a-2", "seq": 1 }));
        let bulk = String::from_utf8(records.bulk(5, "b", 7, |id| format!("x{id}"))).unwrap();
        let lines: Vec<Value> = bulk.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[1]["seq"]), (4, &1.into()));
        assert_eq!((&lines[2]["index"]["_id"], &lines[2]["index"]["version"]), (&"xa-2".into(), &8.into()));
        assert_eq!(records.plain(), b"ia-1{\"seq\":1}ia-2{\"seq\":1}");
    }
}
