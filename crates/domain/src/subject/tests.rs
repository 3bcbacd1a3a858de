use super::{Command, Event, Refusal, Subject};
use crate::scenario::given;

#[test]
fn a_subject_is_erased_once_however_often_it_is_asked_for() {
    let asked = Event::ErasureRequested {};
    given::<Subject>([]).when(Command::Erase).then([asked.clone()]);
    given::<Subject>([asked.clone()]).when(Command::Erase).then([]);
    given::<Subject>([asked.clone()]).when(Command::RecordErased).then([Event::Erased {}]);
    given::<Subject>([asked.clone(), Event::Erased {}]).when(Command::RecordErased).then([]);
    given::<Subject>([asked, Event::Erased {}]).when(Command::Erase).then([]);
}

#[test]
fn nobody_is_erased_by_themselves() {
    given::<Subject>([]).when(Command::RecordErased).refuses(Refusal::NotRequested);
}
