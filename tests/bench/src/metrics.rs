//! What metrics cost: scraping every second, and counting and measuring on the way.
//!
//! Turns with a scraper and turns without take turns, where a request costs the least and so counting the most: requests of
//! one record. What is done on the way of each request is then done over and over by itself, and set against the CPU
//! time that the agent spent on one.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use harness::{
    load::{
        options::{Options, Until},
        run::run,
    },
    metrics::scrape,
    process::free_address,
};
use sync_agent::runtime::{Counter, Histogram};

use crate::{
    arrivals::quantile,
    cli::Bench,
    ingest::{batches, singles},
    scratch::median,
    table::{Table, Target},
};

const NAME: &str = "metrics";
const TURNS: usize = 4;
const SCRAPE_EVERY: Duration = Duration::from_secs(1);
/// Requests as good as.
const REPEATS: u32 = 5_000_000;
/// Of throughput, and of CPU time.
const COST_MAX: f64 = 0.01;

pub(crate) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let refusing = format!("http://{}", free_address());
    let agent = bench.agent()?.file("archive").algolia("search", &refusing).start().await?;
    let (mut first_sequence, mut scrapes, mut cpu_of_one) = (1, Vec::new(), f64::NAN);
    for (what, load) in [("batches of 100", batches()), ("single records", singles())] {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            for scraping in [false, true] {
                let before = agent.usage().cpu;
                let until = Until::Elapsed(bench.window / 2);
                let load =
                    tokio::spawn(run(agent.address(), Options { until, first_sequence, ..load.clone() }));
                while scraping && !load.is_finished() {
                    let start = Instant::now();
                    scrape(agent.http_address()).await;
                    scrapes.push(start.elapsed());
                    tokio::time::sleep(SCRAPE_EVERY).await;
                }
                let report = load.await??;
                first_sequence = report.next_sequence;
                let cpu = (agent.usage().cpu - before).as_secs_f64();
                let rate = report.records_per_second();
                if scraping {
                    with.push(rate);
                } else {
                    without.push(rate);
                    cpu_of_one = cpu / report.requests.acknowledged as f64;
                }
            }
        }
        let (without, with) = (median(without.into_iter()), median(with.into_iter()));
        table.add(NAME, format!("{what}, accepted"), without, "records/s");
        let figure = table.add(NAME, "  with a scrape every second", with, "records/s");
        figure.ratio("without", without).target(Target::AtLeast((1.0 - COST_MAX) * without));
    }
    scrapes.sort_unstable();
    table.add_time(NAME, "a scrape under load, p50", quantile(&scrapes, 0.5));
    table.add_time(NAME, "a scrape under load, p99", quantile(&scrapes, 0.99));

    table.add(NAME, "the agent's CPU for a request of one record", cpu_of_one * 1e9, "ns");
    let figure = table.add(NAME, "  counting and measuring it", recording() * 1e9, "ns");
    figure.ratio("the whole", cpu_of_one * 1e9).target(Target::AtMost(COST_MAX * cpu_of_one * 1e9));
    Ok(())
}

/// Seconds for what is done on the way of a request: two looks at the clock, a histogram, five counters.
fn recording() -> f64 {
    static BOUNDS: [f64; 14] =
        [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    let (histogram, counters) = (Histogram::new(&BOUNDS), <[Counter; 5]>::default());
    let start = Instant::now();
    for _ in 0..REPEATS {
        let arrived_at = black_box(Instant::now());
        histogram.observe(black_box(&arrived_at).elapsed().as_secs_f64());
        counters.iter().for_each(|counter| black_box(counter).add(1));
    }
    start.elapsed().as_secs_f64() / f64::from(REPEATS)
}
