//! The live screen: what it shows in a terminal of any size, and what its keys do.

use super::*;
use crate::cli::{
    status::text::tests::{at, destination, status},
    text::colourless,
};

const SIZE: Size = Size { width: 100, height: 30 };

fn screen() -> Screen {
    let mut screen = Screen::new(Instant::now());
    screen.show(status(), Instant::now());
    screen
}

fn shown(screen: &mut Screen, size: Size) -> Vec<String> {
    screen.draw(size, Instant::now()).iter().map(|line| colourless(line)).collect()
}

fn marked(screen: &mut Screen, size: Size) -> Option<String> {
    let lines = shown(screen, size);
    let marked: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("> ")).collect();
    assert!(marked.len() <= 1, "{lines:#?}");
    marked.first().and_then(|line| line.split_whitespace().next()).map(str::to_owned)
}

/// The worst stands first and is selected; the selection follows its destination, wherever that moves.
#[test]
fn the_worst_comes_first() {
    let mut screen = Screen::new(Instant::now());
    let mut well = status();
    well.destinations[1].state = DestinationState::Running;
    screen.show(well, Instant::now());
    assert_eq!(marked(&mut screen, SIZE).as_deref(), Some("search"));
    screen.show(status(), Instant::now());
    assert_eq!(marked(&mut screen, SIZE).as_deref(), Some("mirror"), "nobody has chosen another yet");
    assert_eq!(screen.press(Key::Down), Wish::Nothing);
    assert_eq!(marked(&mut screen, SIZE).as_deref(), Some("search"), "it has dead letters");
    screen.press(Key::Letter('j'));
    assert_eq!(marked(&mut screen, SIZE).as_deref(), Some("archive"));
    screen.press(Key::Down);
    assert_eq!(marked(&mut screen, SIZE).as_deref(), Some("archive"), "it is the last one");

    let mut other = status();
    other.destinations[0].state = DestinationState::Halted;
    screen.show(other, Instant::now());
    let lines = shown(&mut screen, SIZE);
    let row = lines.iter().position(|line| line.starts_with("> archive")).unwrap();
    assert!(lines[row + 1].starts_with("  mirror"), "{lines:#?}");
    screen.press(Key::Up);
    assert_eq!(marked(&mut screen, SIZE).as_deref(), Some("archive"), "it is the first one now");

    let mut without = status();
    without.destinations.remove(0);
    screen.show(without, Instant::now());
    assert_eq!(marked(&mut screen, SIZE).as_deref(), Some("mirror"), "what is gone cannot be selected");
}

/// G9: with 50 destinations and in the smallest terminal, the selected one and the keys are seen.
#[test]
fn it_fits_into_any_terminal() {
    let mut many = status();
    let named = |number| destination(&format!("d{number:02}"), DestinationState::Running);
    many.destinations = (0..50).map(named).collect();
    for (width, height) in [(200, 80), (80, 24), (40, 10), (20, 4), (1, 1)] {
        let size = Size { width, height };
        let mut screen = Screen::new(Instant::now());
        screen.show(many.clone(), Instant::now());
        for number in 0..50 {
            let lines = shown(&mut screen, size);
            assert!(lines.len() <= height.max(2), "{} lines in {size:?}", lines.len());
            if height > 1 {
                assert_eq!(marked(&mut screen, size), Some(format!("d{number:02}")), "in {size:?}");
                assert!(lines.last().unwrap().contains("q quit"));
            }
            screen.press(Key::Down);
        }
        for _ in 0..30 {
            screen.press(Key::PageDown);
        }
        let lines = shown(&mut screen, size);
        let end = format!("of {}", text::lines(&many).len());
        assert!(lines.last().unwrap().contains(&end) || height == 80, "{lines:#?}");
        screen.press(Key::Enter);
        assert!(shown(&mut screen, size)[0].starts_with("d49  file, running"));
    }
}

#[test]
fn everything_of_one_is_shown() {
    let mut screen = screen();
    screen.press(Key::Enter);
    let lines = shown(&mut screen, SIZE);
    assert_eq!(lines[0], "mirror  file, breaker open, again in 5s");
    assert!(lines.iter().any(|line| line == "  last error      connection\\u{1b}[31m refused"), "{lines:#?}");
    screen.press(Key::Down);
    let lines = shown(&mut screen, SIZE);
    assert!(lines[0].starts_with("search"), "{lines:#?}");
    assert!(lines.iter().any(|line| line == "  rejected        9"), "{lines:#?}");
    screen.press(Key::Escape);
    assert_eq!(marked(&mut screen, SIZE).as_deref(), Some("search"));
    assert_eq!(screen.press(Key::Letter('q')), Wish::Quit);
    assert_eq!(screen.press(Key::Interrupt), Wish::Interrupt);
}

/// Nothing is done to a destination by one key alone.
#[test]
fn a_pause_is_confirmed() {
    let mut screen = screen();
    assert_eq!(screen.press(Key::Letter('p')), Wish::Nothing);
    assert!(
        shown(&mut screen, SIZE)
            .last()
            .unwrap()
            .starts_with("pause mirror? y: yes, any other key: no; its records wait")
    );
    // Another one comes first now.
    let mut worse = status();
    worse.destinations[0].state = DestinationState::Halted;
    screen.show(worse, Instant::now());
    assert!(shown(&mut screen, SIZE).last().unwrap().starts_with("pause mirror?"));
    assert_eq!(marked(&mut screen, SIZE).as_deref(), Some("mirror"));
    for key in [Key::Enter, Key::Escape, Key::Letter('n'), Key::Letter('q'), Key::Down] {
        assert_eq!(screen.press(key), Wish::Nothing, "{key:?} is no yes");
        assert_eq!(screen.press(Key::Letter('y')), Wish::Nothing, "there is no question any more");
        screen.press(Key::Letter('p'));
    }
    assert_eq!(screen.press(Key::Letter('y')), Wish::Do(Command::Pause("mirror".to_owned())));

    let mut paused = status();
    paused.destinations[1].state = DestinationState::Paused;
    screen.show(paused, Instant::now());
    screen.press(Key::Letter('p'));
    assert_eq!(screen.press(Key::Letter('y')), Wish::Do(Command::Resume("mirror".to_owned())));
    screen.tell("mirror goes on".to_owned());
    assert_eq!(shown(&mut screen, SIZE).last().unwrap(), "mirror goes on");

    // The agent goes away while the question stands.
    screen.press(Key::Letter('p'));
    screen.lose();
    assert_eq!(screen.press(Key::Letter('y')), Wish::Nothing);
    screen.press(Key::Letter('p'));
    assert_eq!(shown(&mut screen, SIZE).last().unwrap(), "there is no agent to be asked");
}

/// An operator must not take what was for what is.
#[test]
fn it_says_when_it_is_out_of_date() {
    let start = Instant::now();
    let mut screen = Screen::new(start);
    screen.show(status(), start);
    let first = |screen: &mut Screen, seconds| {
        colourless(&screen.draw(SIZE, start + Duration::from_secs(seconds))[0])
    };
    assert!(first(&mut screen, 4).starts_with("sync-agent 0.1.0"));
    assert!(first(&mut screen, 6).starts_with("the agent has told nothing for 6s"));
    screen.lose();
    assert!(first(&mut screen, 7).starts_with("the agent went away 7s ago, and is looked for"));
    screen.show(Status { started_at: at(100), ..status() }, start + Duration::from_secs(8));
    assert!(first(&mut screen, 8).starts_with("sync-agent 0.1.0"));
    let last = shown(&mut screen, SIZE).pop().unwrap();
    assert!(last.starts_with("another agent answers: it runs since 2026-"), "{last}");
}
