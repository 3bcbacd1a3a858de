//! What is printed: a line for each run as it ends, and at last how Everstep compares.

use crate::engine::Who;
use crate::load::float;
use crate::long::{Long, ROUNDS};
use crate::works::{CUT_OFF, Killed, Load, PARKED, Parked};

const LOADS: &str = "| what | callers | workflows/s | p50 ms | p95 ms | p99 ms | CPU ms each \
                     | peak memory MiB | WAL bytes each |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|";
const PARKS: &str = "| what | put in/s | memory growth KiB each | disk KiB each | CPU ms each \
                     | WAL bytes each |\n|---|---:|---:|---:|---:|---:|";
const KILLS: &str = "| what | in the call | back after s | all ended after s | lost | wrong \
                     | durable steps run again | calls made again |\n|---|---:|---:|---:|---:|---:|---:|---:|";
const LONGS: &str =
    "| what | rounds/s | events | resumed by a new process after ms |\n|---|---:|---:|---:|";
const RATIOS: &str = "| figure | everstep | best peer | ratio |\n|---|---:|---:|---:|";

/// Which of two figures is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

#[derive(Debug, Clone)]
struct Figure {
    who: Who,
    /// What was measured, of which work.
    of: String,
    better: Better,
    value: f64,
}

/// The lines of one round.
#[derive(Debug, Default)]
pub(crate) struct Table {
    heading: &'static str,
    figures: Vec<Figure>,
}

impl Table {
    fn line(&mut self, heading: &'static str, line: &str) {
        if self.heading != heading {
            println!("{}{heading}", if self.heading.is_empty() { "" } else { "\n" });
            self.heading = heading;
        }
        println!("{line}");
    }

    fn keep(&mut self, who: Who, of: String, better: Better, value: f64) {
        self.figures.push(Figure { who, of, better, value });
    }

    /// What has no engine.
    pub(crate) fn floor(&mut self, name: &str, callers: u64, load: &Load) {
        let times = load.ran.within.map_or(" |  | ".to_owned(), |[p50, p95, p99]| {
            format!("{p50:.2} | {p95:.2} | {p99:.2}")
        });
        let line = format!(
            "| {name} | {callers} | {:.0} | {times} | {:.3} |  | {:.0} |",
            load.ran.per_second(),
            load.processor(),
            load.written(None),
        );
        self.line(LOADS, &line);
    }

    pub(crate) fn load(&mut self, who: Who, what: &str, callers: u64, load: &Load) {
        let (ran, written) = (&load.ran, load.written(Some(who)));
        let cell =
            |nth: usize| ran.within.map_or(String::new(), |times| format!("{:.1}", times[nth]));
        let (p50, p95, p99) = (cell(0), cell(1), cell(2));
        let errors = match ran.errors {
            0 => String::new(),
            errors => format!(", {errors} errors"),
        };
        // Not the log of Postgres, but all that it wrote to its disk.
        let mark = if who.keeps_to_postgres() { "" } else { "*" };
        let (rate, processor) = (ran.per_second(), load.processor());
        let line = format!(
            "| {}: {what}{errors} | {callers} | {rate:.0} | {p50} | {p95} | {p99} \
             | {processor:.2} | {:.0} | {written:.0}{mark} |",
            who.name(),
            load.memory,
        );
        self.line(LOADS, &line);
        let of = |figure: &str| format!("{what}, {callers} callers: {figure}");
        self.keep(who, of("workflows/s"), Better::More, rate);
        if let Some([_, _, p99]) = ran.within {
            self.keep(who, of("p99 ms"), Better::Less, p99);
        }
        self.keep(who, of("CPU ms each"), Better::Less, processor);
        self.keep(who, of("peak memory MiB"), Better::Less, load.memory);
        if who.keeps_to_postgres() {
            self.keep(who, of("WAL bytes each"), Better::Less, written);
        }
    }

    pub(crate) fn parked(&mut self, who: Who, what: &str, parked: &Parked) {
        let kib = |bytes: f64| bytes / 1024.0 / float(PARKED);
        let (memory, disk) = (kib(parked.memory), kib(parked.disk));
        let mark = if who.keeps_to_postgres() { "" } else { "*" };
        let wal = format!("{:.0}", parked.spent.wal / float(PARKED));
        let wal = if who.keeps_to_postgres() { wal } else { String::new() };
        let line = format!(
            "| {}: {what} | {:.0} | {memory:.1} | {disk:.2}{mark} | {:.2} | {wal} |",
            who.name(),
            parked.per_second,
            parked.spent.processor * 1000.0 / float(PARKED),
        );
        self.line(PARKS, &line);
        let of = |figure: &str| format!("{what}: {figure}");
        self.keep(who, of("put in/s"), Better::More, parked.per_second);
        self.keep(who, of("memory growth KiB each"), Better::Less, memory);
        self.keep(who, of("disk KiB each"), Better::Less, disk);
    }

    pub(crate) fn killed(&mut self, who: Who, what: &str, killed: &Killed) {
        let all = killed.all.map_or("never".to_owned(), |all| format!("{all:.1}"));
        let line = format!(
            "| {}: {what} | {} | {:.1} | {all} | {} | {} | {} | {} |",
            who.name(),
            killed.inside,
            killed.back,
            killed.lost,
            killed.wrong,
            killed.redone,
            killed.called_again,
        );
        self.line(KILLS, &line);
        // Who had fewer in the call had less to do.
        if let (Some(all), CUT_OFF) = (killed.all, killed.inside) {
            self.keep(who, format!("{what}: all ended after s"), Better::Less, all);
        }
    }

    pub(crate) fn long(&mut self, who: Who, what: &str, long: &Long) {
        let rate = float(ROUNDS) / long.took;
        let line = format!(
            "| {}: {what} | {rate:.0} | {} | {:.1} |",
            who.name(),
            long.events,
            long.resumed
        );
        self.line(LONGS, &line);
    }

    /// How each figure of Everstep is to the best one of a peer.
    pub(crate) fn compare(&mut self) {
        let figures = std::mem::take(&mut self.figures);
        for ours in figures.iter().filter(|figure| figure.who == Who::Everstep) {
            let peers =
                figures.iter().filter(|other| other.who != Who::Everstep && other.of == ours.of);
            let Some(best) = peers.reduce(Figure::better) else { continue };
            let (of, name, value) = (&ours.of, best.who.name(), show(best.value));
            let ratio = match best.value {
                // Memory may have shrunk.
                none if none <= 0.0 => String::new(),
                theirs => format!("{:.2} ×", ours.value / theirs),
            };
            let line = format!("| {of} | {} | {value} ({name}) | {ratio} |", show(ours.value));
            self.line(RATIOS, &line);
        }
        self.heading = "";
    }
}

impl Figure {
    fn better<'a>(&'a self, other: &'a Self) -> &'a Self {
        let more = other.value > self.value;
        if more == (self.better == Better::More) { other } else { self }
    }
}

fn show(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}
