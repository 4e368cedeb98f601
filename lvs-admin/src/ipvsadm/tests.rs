use super::*;
use crate::names::RecordingMachine;

fn words(line: &str) -> Vec<String> {
    let line = crate::words::lines(line).next();
    line.map_or_else(Vec::new, |line| line.unwrap().into_iter().map(|word| word.text).collect())
}

fn answer(line: &str) -> String {
    match parse(&words(line), &RecordingMachine::new()) {
        Ok(_) => "ok".to_owned(),
        Err(refusal) => format!("exit {}\n    ! {refusal}", refusal.status()),
    }
}

/// The lines of a file of answers: the command line, and what was answered.
fn recorded(text: &str) -> Vec<(String, String)> {
    let mut answers: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("    ! ") {
            Some(message) => {
                let answer = &mut answers.last_mut().unwrap().1;
                answer.push_str("\n    ! ");
                answer.push_str(message);
            }
            None => {
                let (line, answer) = line.rsplit_once(" => ").unwrap();
                answers.push((line.to_owned(), answer.to_owned()));
            }
        }
    }
    answers
}

#[test]
fn each_command_line_is_answered_as_ipvsadm_answers_it() {
    let answers = recorded(include_str!("../../testdata/ipvsadm-1.31.txt"));
    assert!(answers.len() > 300, "only {} lines", answers.len());
    let mut wrong = String::new();
    for (line, expected) in &answers {
        let ours = answer(line);
        if ours != *expected {
            wrong += &format!("ipvsadm {line}\n  ipvsadm: {expected}\n  ours:    {ours}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_recorded_refusals_of_ipvsadm_are_ours() {
    let text = include_str!("../../testdata/errors.rec");
    let mut checked = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((command, answer_there)) = line.split_once(" => ") else { continue };
        let Some((_, command)) = command.split_once(" ipvsadm ") else { continue };
        let ours = answer(command);
        if answer_there == "exit 2" {
            let message = lines.peek().unwrap().trim().trim_start_matches("! ");
            assert_eq!(ours, format!("exit 2\n    ! {message}"), "{command}");
            checked += 1;
        } else {
            // Done, or refused by the kernel, which is not the parser's business.
            assert_eq!(ours, "ok", "{command}");
        }
    }
    assert_eq!(checked, 18);
}
