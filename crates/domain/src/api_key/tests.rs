use proptest::prelude::*;
use uuid::Uuid;

use super::{Access, ApiKey, Command, Event, Refusal, Token, TokenError};
use crate::scenario::{NOON, given};
use crate::{Aggregate, Id};

const SECRET: [u8; 32] = [7; 32];

fn token() -> Token {
    Token { tenant: Id::from_uuid(Uuid::from_u128(1)), key: Uuid::from_u128(2), secret: SECRET }
}

fn create(name: &str) -> Command {
    Command::Create { name: name.to_owned(), access: Access::Write, digest: token().digest() }
}

fn created() -> Event {
    Event::Created { name: "ci".to_owned(), access: Access::Write, digest: token().digest() }
}

#[test]
fn a_key_is_made_once() {
    given::<ApiKey>([]).when(create("ci")).then([created()]);
    given::<ApiKey>([created()]).when(create("ci")).refuses(Refusal::Exists);
}

#[test]
fn a_key_needs_a_name_that_can_be_read() {
    for bad in ["", "  ", "a\nb", &"x".repeat(101)] {
        let no = ApiKey::default().decide(&create(bad), NOON).unwrap_err();
        assert_eq!(crate::Refusal::faults(&no)[0].pointer, "/name", "{bad:?}");
    }
}

#[test]
fn a_revoked_key_stays_revoked() {
    given::<ApiKey>([created()]).when(Command::Revoke).then([Event::Revoked {}]);
    given::<ApiKey>([created(), Event::Revoked {}]).when(Command::Revoke).then([]);
    given::<ApiKey>([created(), Event::Revoked {}]).when(create("ci")).refuses(Refusal::Exists);
    given::<ApiKey>([]).when(Command::Revoke).refuses(Refusal::NotFound);
}

#[test]
fn only_the_right_secret_opens_and_only_until_the_key_is_revoked() {
    let key = ApiKey::replay(&[created()]);
    assert_eq!(key.opens(&token()), Some(Access::Write));
    assert_eq!(key.opens(&Token { secret: [8; 32], ..token() }), None);
    assert_eq!(ApiKey::default().opens(&token()), None);
    let revoked = ApiKey::replay(&[created(), Event::Revoked {}]);
    assert_eq!(revoked.opens(&token()), None);
}

#[test]
fn a_token_reads_back_and_never_shows_its_secret() {
    let text = token().encode();
    assert_eq!(text.len(), "evs_".len() + 91);
    assert_eq!(Token::parse(&text), Ok(token()));
    let shown = format!("{:?}", token());
    assert!(!shown.contains('7') && shown.contains("Token"), "{shown}");
}

#[test]
fn what_is_no_token_or_a_mistyped_one_is_refused() {
    let text = token().encode();
    assert_eq!(Token::parse(&text[1..]), Err(TokenError));
    assert_eq!(Token::parse(&text[..text.len() - 4]), Err(TokenError));
    assert_eq!(Token::parse(&format!("{text}AAAA")), Err(TokenError));
    assert_eq!(Token::parse("evs_"), Err(TokenError));
    assert_eq!(Token::parse("evs_ä"), Err(TokenError));
    let mistyped = text.replacen("BwcH", "BwdH", 1);
    assert_ne!(mistyped, text);
    assert_eq!(Token::parse(&mistyped), Err(TokenError));
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![Just(create("ci")), Just(create("other")), Just(create("")), Just(Command::Revoke)]
}

proptest! {
    /// Whatever is asked, in whatever order: nothing panics, nothing follows the end, and the
    /// state is exactly what a replay of the history gives.
    #[test]
    fn histories_are_well_formed(commands in prop::collection::vec(any_command(), 0..20)) {
        let (mut state, mut history) = (ApiKey::default(), Vec::new());
        for command in &commands {
            for event in state.decide(command, NOON).unwrap_or_default() {
                prop_assert_ne!(history.last(), Some(&Event::Revoked {}));
                state.evolve(&event);
                history.push(event);
            }
        }
        prop_assert_eq!(state, ApiKey::replay(&history));
    }

    #[test]
    fn any_token_reads_back(tenant: u128, key: u128, secret: [u8; 32]) {
        let tenant = Id::from_uuid(Uuid::from_u128(tenant));
        let token = Token { tenant, key: Uuid::from_u128(key), secret };
        prop_assert_eq!(Token::parse(&token.encode()), Ok(token));
    }

    #[test]
    fn any_changed_letter_is_noticed(place in 0_usize..91, letter in "[A-Za-z0-9_-]") {
        let good = token().encode();
        let mut bad = good.clone();
        bad.replace_range(4 + place..5 + place, &letter);
        prop_assert!(bad == good || Token::parse(&bad).is_err());
    }
}
