//! Formats MessagePack dates as JavaScript writes them in JSON, for example `2026-01-31T23:59:59.000Z`.

/// The maximum distance of a JavaScript date from the start of 1970, in milliseconds.
const MAX_MILLIS: i64 = 8_640_000_000_000_000;
const DAY: i64 = 86_400_000;

/// Formats a date. Returns `None` if the date is out of the range of JavaScript.
pub(super) fn of_millis(millis: i64) -> Option<String> {
    if !(-MAX_MILLIS..=MAX_MILLIS).contains(&millis) {
        return None;
    }
    let (days, rest) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    let (hour, minute, second, milli) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"))
}

/// Returns the milliseconds since 1970 of a timestamp extension, which has three formats:
/// <https://github.com/msgpack/msgpack/blob/master/spec.md#timestamp-extension-type>.
pub(super) fn millis_of_timestamp(bytes: &[u8]) -> Option<i64> {
    let (seconds, nanos) = if let Ok(seconds) = <[u8; 4]>::try_from(bytes) {
        (u32::from_be_bytes(seconds).into(), 0)
    } else if let Ok(both) = <[u8; 8]>::try_from(bytes) {
        let both = u64::from_be_bytes(both);
        ((both & 0x3_ffff_ffff).cast_signed(), (both >> 34) as u32)
    } else {
        let (nanos, seconds) = bytes.split_first_chunk()?;
        (i64::from_be_bytes(seconds.try_into().ok()?), u32::from_be_bytes(*nanos))
    };
    seconds.checked_mul(1000)?.checked_add((nanos / 1_000_000).into())
}

/// Converts days since the start of 1970 to year, month and day in the Gregorian calendar.
///
/// In this computation, years start in March, so the leap day is the last day of a year. An era is 400 years
/// long; after an era, the calendar repeats.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    let since = days + 719_468;
    let (era, day) = (since.div_euclid(ERA), since.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_javascript_does() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
            (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
            (MAX_MILLIS, "+275760-09-13T00:00:00.000Z"),
            (-MAX_MILLIS, "-271821-04-20T00:00:00.000Z"),
        ] {
            assert_eq!(of_millis(millis).as_deref(), Some(text));
        }
        for millis in [MAX_MILLIS + 1, -MAX_MILLIS - 1, i64::MAX, i64::MIN] {
            assert_eq!(of_millis(millis), None);
        }
    }

    #[test]
    fn timestamps_have_three_lengths() {
        assert_eq!(millis_of_timestamp(&[0, 0, 0, 2]), Some(2000));
        let both = (5_000_000_u64 << 34 | 0x1_0000_0000).to_be_bytes();
        assert_eq!(millis_of_timestamp(&both), Some(0x1_0000_0000 * 1000 + 5));
        let long = |seconds: i64| [&[0, 0, 0, 0][..], &seconds.to_be_bytes()].concat();
        assert_eq!(millis_of_timestamp(&long(-1)), Some(-1000));
        assert_eq!(millis_of_timestamp(&long(i64::MAX)), None);
        assert_eq!(millis_of_timestamp(&[0; 5]), None);
    }
}
