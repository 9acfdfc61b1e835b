//! The inputs of section 6 of the suite, most of them from the UTF-8 stress test by Markus Kuhn.

pub(crate) const VALID: [&[u8]; 28] = [
    b"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
    // 6.5: the first and the last code point of each length.
    b"\x00",
    b"\xc2\x80",
    b"\xe0\xa0\x80",
    b"\xf0\x90\x80\x80",
    b"\x7f",
    b"\xdf\xbf",
    b"\xef\xbf\xbf",
    b"\xf4\x8f\xbf\xbf",
    // 6.7: the neighbors of the surrogates, and the last code point.
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    // 6.22: noncharacters, which are valid in UTF-8.
    b"\xef\xbf\xbe",
    b"\xf0\x9f\xbf\xbe",
    b"\xf0\x9f\xbf\xbf",
    b"\xf0\xaf\xbf\xbe",
    b"\xf0\xaf\xbf\xbf",
    b"\xf1\x8f\xbf\xbe",
    b"\xf1\xaf\xbf\xbf",
    b"\xf2\x8f\xbf\xbe",
    b"\xf2\xaf\xbf\xbf",
    b"\xf3\x8f\xbf\xbe",
    b"\xf3\xaf\xbf\xbf",
    b"\xf3\xbf\xbf\xbe",
    b"\xf4\x8f\xbf\xbe",
    // 6.23: the replacement character and its neighbors.
    b"\xef\xbf\xb9",
    b"\xef\xbf\xbc",
];

pub(crate) const INVALID: [&[u8]; 40] = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    // 6.4: a code point above the last one.
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
    // 6.6: truncated characters.
    b"\xce",
    b"\xce\xba\xe1",
    b"\xce\xba\xe1\xbd",
    b"\xe0\xa0",
    b"\xf0\x90\x80",
    // 6.8: sequences of five and six bytes, which older versions of UTF-8 allowed.
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    // 6.10, 6.11: sequences outside of the valid range.
    b"\xf7\xbf\xbf\xbf",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    b"\xf4\x90\x80\x80",
    // 6.12: continuation bytes without a start byte.
    b"\x80",
    b"\xbf",
    b"\x80\xbf",
    b"\x80\xbf\x80",
    b"\x80\xbf\x80\xbf\x80\xbf",
    // 6.13: start bytes without a continuation.
    b"\xc0 \xc1 \xc2 \xc3 ",
    b"\xe0 \xe1 \xe2 \xe3 ",
    b"\xf0 \xf1 \xf2 \xf3 ",
    b"\xf8 \xf9 \xfa \xfb ",
    b"\xfc \xfd ",
    // 6.14: sequences without their last byte.
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xf8\x80\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    // 6.15, 6.16: several truncated sequences, and bytes that never occur in UTF-8.
    b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    // 6.17 to 6.19: overlong encodings.
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    // 6.20, 6.21: surrogates, single and in pairs.
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
];
