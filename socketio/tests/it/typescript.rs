//! Tests the generated TypeScript interfaces.

#![allow(dead_code, reason = "the types are described, not used")]

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use socketio::{
    Ack, Args, EmitError, EventError, Namespace, NoAck, Socket, TypedEvent, WithAckFlag,
    typescript::{Binary, Contract, DescribeArgs},
};
use ts_rs::TS;

/// Who says something.
#[derive(Serialize, Deserialize, TS)]
struct Person {
    #[serde(rename = "nick-name")]
    name: String,
    id: u64,
    friend: Option<Box<Person>>,
}

#[derive(Serialize, Deserialize, TS)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Content {
    Text { text: String },
    Picture { bytes: Binary },
}

#[derive(Serialize, Deserialize, TS)]
struct Page<T> {
    entries: Vec<T>,
    by_room: BTreeMap<String, T>,
    #[ts(as = "Binary")]
    preview: Bytes,
}

#[derive(Serialize, Deserialize, TS)]
struct Pair(u8, u8);

const SAID: TypedEvent<(Person, Content)> = TypedEvent::new("said");

fn line(contract: &Contract, name: &str) -> String {
    let text = contract.to_string();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("  {name}: ")));
    line.unwrap_or_else(|| panic!("no `{name}` in {text}")).to_owned()
}

fn emitted<T: DescribeArgs + ?Sized>() -> String {
    line(&Contract::new().emits::<T>("event"), "event")
}

fn has(contract: &Contract, declaration: &str) {
    let text = contract.to_string();
    assert!(text.contains(declaration), "no `{declaration}` in {text}");
}

#[test]
fn arguments_follow_the_rule_of_the_wire() {
    assert_eq!(emitted::<()>(), "() => void;");
    assert_eq!(emitted::<str>(), "(arg0: string) => void;");
    assert_eq!(
        emitted::<(String, Vec<(u8, u64)>)>(),
        "(arg0: string, arg1: Array<[number, number]>) => void;"
    );
    assert_eq!(emitted::<((u8, u8),)>(), "(arg0: [number, number]) => void;");
    assert_eq!(emitted::<Box<(u8, bool)>>(), "(arg0: number, arg1: boolean) => void;");
    assert_eq!(emitted::<[u8; 2]>(), "(arg0: number, arg1: number) => void;");
    assert_eq!(emitted::<Vec<u8>>(), "(arg0: Array<number>) => void;");
    assert_eq!(emitted::<Option<(u8, u8)>>(), "(arg0: [number, number] | null) => void;");
    assert_eq!(emitted::<Pair>(), "(arg0: Pair) => void;");
    assert_eq!(emitted::<(String, Binary)>(), "(arg0: string, arg1: Binary) => void;");
    assert_eq!(emitted::<Page<Person>>(), "(arg0: Page<Person>) => void;");
}

#[test]
fn what_is_referred_to_is_declared_once() {
    let contract = Contract::new().emits(SAID).emits::<Page<Vec<Person>>>("page").emits::<Person>("joined");
    has(&contract, "/**\n * Who says something.\n */\nexport type Person = ");
    has(&contract, r#"{ "nick-name": string, id: number, friend: Person | null, };"#);
    has(&contract, r#"{ "kind": "text", text: string, } | { "kind": "picture", bytes: Binary, };"#);
    has(
        &contract,
        "export type Page<T> = { entries: Array<T>, by_room: { [key in string]: T }, preview: Binary, };",
    );
    has(&contract, "export type Binary = ArrayBuffer | Uint8Array;");
    assert_eq!(contract.to_string().matches("export type Person ").count(), 1);
    assert!(!contract.to_string().contains("ErrorAnswer"), "nothing fails here");
}

#[test]
fn binary_is_an_attachment() {
    let sent = Binary(Bytes::from_static(b"\0\x01"));
    let args = Args::from_values([&sent]).unwrap();
    assert_eq!(args.json(), r#"[{"_placeholder":true,"num":0}]"#);
    assert_eq!(args.attachments()[0], sent.0);
    assert_eq!(args.get::<Binary>(0).unwrap(), sent);
}

#[test]
fn what_a_handler_returns_is_the_callback() {
    async fn nothing(_: Socket, _: String) {}
    async fn silent(_: Socket, _: String) -> NoAck {
        NoAck
    }
    async fn value(_: Socket, _: String) -> Ack<usize> {
        Ack(1)
    }
    async fn perhaps(_: Socket, (): ()) -> Option<Ack<(u8, String)>> {
        None
    }
    async fn checked(_: Socket, _: String) -> Result<(), EventError> {
        Ok(())
    }
    async fn fallible(_: Socket<Person>, _: String) -> Result<Ack<Option<Person>>, EmitError> {
        Ok(Ack(None))
    }
    async fn several(_: Socket, _: String) -> Result<Ack<(u8, String)>, EventError> {
        Ok(Ack((1, String::new())))
    }
    let contract = Contract::new()
        .listens("nothing", nothing)
        .listens("silent", silent)
        .listens("value", value)
        .listens("perhaps", perhaps)
        .listens("checked", checked)
        .listens("fallible", fallible)
        .listens("several", several)
        .emits_with_ack::<(), str>("ask");
    let line = |name| line(&contract, name);
    assert_eq!(line("silent"), "(arg0: string) => void;");
    assert_eq!(line("value"), "(arg0: string, callback: (arg0: number) => void) => void;");
    assert_eq!(line("perhaps"), "(callback: (arg0: number, arg1: string) => void) => void;");
    assert_eq!(line("nothing"), "(...args: [arg0: string] | [arg0: string, callback: () => void]) => void;");
    assert_eq!(
        line("checked"),
        "(...args: [arg0: string] | [arg0: string, callback: (error?: ErrorAnswer) => void]) => void;"
    );
    assert_eq!(
        line("fallible"),
        "(arg0: string, callback: (arg0: Person | null | ErrorAnswer) => void) => void;"
    );
    assert_eq!(
        line("several"),
        "(arg0: string, callback: (...args: [arg0: number, arg1: string] | [error: ErrorAnswer]) => void) => void;"
    );
    assert_eq!(line("ask"), "(arg0: string, callback: () => void) => void;");
    has(&contract, "export type ErrorAnswer = { error: string };");
}

#[test]
fn any_arguments_are_the_rest() {
    async fn heard(_: Socket, _: Args) -> NoAck {
        NoAck
    }
    async fn echo(_: Socket, args: Args) -> Ack<Args> {
        Ack(args)
    }
    async fn nothing(_: Socket, _: Args) {}
    async fn fallible(_: Socket, args: Args) -> Result<Ack<Args>, EventError> {
        Ok(Ack(args))
    }
    let contract = Contract::new()
        .listens("heard", heard)
        .listens("echo", echo)
        .listens("nothing", nothing)
        .listens("fallible", fallible)
        .emits_with_ack::<Args, Args>("ask");
    let line = |name| line(&contract, name);
    assert_eq!(emitted::<Args>(), "(...args: any[]) => void;");
    assert_eq!(line("heard"), "(...args: any[]) => void;");
    assert_eq!(line("echo"), "(...args: [...args: any[], callback: (...args: any[]) => void]) => void;");
    assert_eq!(
        line("nothing"),
        "(...args: [...args: any[]] | [...args: any[], callback: () => void]) => void;"
    );
    assert_eq!(line("fallible"), line("echo"), "an error is among any arguments");
    assert_eq!(line("ask"), "(...args: [...args: any[], callback: (...args: any[]) => void]) => void;");
}

#[test]
fn a_handler_that_knows_whether_it_is_asked_needs_no_callback() {
    async fn sum(_: Socket, sum: WithAckFlag<(u8, u8)>) -> Option<Ack<u8>> {
        sum.wants_ack.then_some(Ack(sum.args.0 + sum.args.1))
    }
    async fn silent(_: Socket, _: WithAckFlag<Person>) -> NoAck {
        NoAck
    }
    async fn all(_: Socket, all: WithAckFlag<Args>) -> Ack<Args> {
        Ack(all.args)
    }
    let contract = Contract::new().listens("sum", sum).listens("silent", silent).listens("all", all);
    let line = |name| line(&contract, name);
    assert_eq!(
        line("sum"),
        "(...args: [arg0: number, arg1: number] | [arg0: number, arg1: number, callback: (arg0: number) => void]) => void;"
    );
    assert_eq!(line("silent"), "(arg0: Person) => void;");
    has(&contract, "export type Person = ");
    assert_eq!(
        line("all"),
        "(...args: [...args: any[]] | [...args: any[], callback: (...args: any[]) => void]) => void;"
    );
}

#[test]
fn names_that_are_no_identifiers_are_quoted() {
    let contract =
        Contract::new().emits::<()>("a-b").emits::<()>("1st").emits::<()>("say \"hi\"").emits::<()>("$ok_1");
    assert_eq!(line(&contract, r#""a-b""#), "() => void;");
    assert_eq!(line(&contract, r#""1st""#), "() => void;");
    assert_eq!(line(&contract, r#""say \"hi\"""#), "() => void;");
    assert_eq!(line(&contract, "$ok_1"), "() => void;");
    assert_eq!(line(&Contract::new().emits::<()>(""), r#""""#), "() => void;");
}

#[test]
fn the_order_of_registration_does_not_matter() {
    let one = Contract::new().emits::<Person>("a").emits::<Pair>("b").emits(SAID);
    let other = Contract::new().emits(SAID).emits::<Pair>("b").emits::<Person>("a");
    assert_eq!(one.to_string(), other.to_string());
}

async fn echo(_: Socket, text: String) -> Ack<String> {
    Ack(text)
}

#[test]
fn a_contract_covers_its_namespace() {
    let namespace = Namespace::new("/").on("echo", echo);
    let _ = Contract::new().listens("echo", echo).covers(&namespace);
}

#[test]
#[should_panic(expected = "namespace `/` differ in the events [\"echo\", \"other\"]")]
fn a_contract_that_does_not_cover_its_namespace_is_a_mistake() {
    let namespace = Namespace::new("/").on("other", echo);
    let _ = Contract::new().listens("echo", echo).covers(&namespace);
}

#[test]
#[should_panic(expected = "event `echo` is in the contract already")]
fn an_event_is_listed_once() {
    let _ = Contract::new().listens("echo", echo).listens("echo", echo);
}

#[test]
#[should_panic(expected = "the name `disconnect` is reserved")]
fn reserved_names_are_refused() {
    let _ = Contract::new().emits::<()>("disconnect");
}

#[test]
#[should_panic(expected = "two types are called `Person` in TypeScript")]
fn two_types_of_one_name_are_a_mistake() {
    mod elsewhere {
        #[derive(ts_rs::TS)]
        pub(super) struct Person {
            age: u8,
        }
    }
    let _ = Contract::new().emits::<Person>("a").emits::<elsewhere::Person>("b");
}

#[test]
fn a_file_is_written_only_if_it_changes() {
    let path = std::env::temp_dir().join(format!("socketio-contract-{}.ts", std::process::id()));
    let contract = Contract::new().listens("echo", echo);
    assert!(contract.write_to(&path).unwrap());
    assert!(!contract.write_to(&path).unwrap());
    assert!(contract.emits(SAID).write_to(&path).unwrap());
    assert!(Contract::new().write_to(path.join("below")).is_err());
    std::fs::remove_file(path).unwrap();
}
