//! The arguments of events.

/// Returns a JSON object of `length` bytes. The keys are sorted, so that servers which sort keys return the
/// same bytes.
pub(crate) fn event_argument(length: usize) -> String {
    let head = r#"{"from":"anna","read":false,"text":""#;
    let tail = r#"","time":1789456123}"#;
    let words = "Shall we meet at the station, or do you come by bus? ";
    let text: String = words.chars().cycle().take(length.saturating_sub(head.len() + tail.len())).collect();
    format!("{head}{text}{tail}")
}

#[cfg(test)]
mod tests {
    use super::event_argument;

    #[test]
    fn an_argument_has_its_length_and_is_json() {
        for length in [100, 128 * 1024] {
            let argument = event_argument(length);
            assert_eq!(argument.len(), length);
            serde_json::from_str::<serde_json::Value>(&argument).unwrap();
        }
    }
}
