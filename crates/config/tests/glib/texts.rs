//! Texts to read: the rows of the contract, and as many more as are wanted.

use testkit::pattern::mix;

const REFUSED: &str = "refused\n";

/// A text, and what is made of it in the oracle's words.
pub const CONTRACT: &[(&[u8], &str)] = &[
    // Comments, blank lines, and blanks before what stands in a line.
    (b"", ""),
    (b"# a\n \t#b\n\n[a]\n", "group .a\n"),
    (b"  [a]\n\tx = 1\n\n", "group .a\nkey .x .1 1 1 1\n"),
    (b"[a]\n; comment\n", REFUSED),
    (b"[a] # x\n", REFUSED),
    (b"[a]\nx=true # y\n", "group .a\nkey .x .true\\x20#\\x20y ! ! !\n"),
    // Ends of lines and of the text.
    (b"[a]\r\nx=1\r\n", "group .a\nkey .x .1 1 1 1\n"),
    (b"[a]\nx=1", "group .a\nkey .x .1 1 1 1\n"),
    (b"[a]\nx=1\n\0", "group .a\nkey .x .1 1 1 1\n"),
    (b"\xef\xbb\xbf[a]\n", REFUSED),
    // What is neither a group nor a key.
    (b"x=1\n[a]\n", REFUSED),
    (b"[a]\n=1\n", REFUSED),
    (b"[a]\nx: 1\n", REFUSED),
    (b"[a]\nbare\n", REFUSED),
    // Blanks around a value: those behind it belong to a string, and to no flag; of an int64 they make none.
    (b"[a]\nx  =  1 \n", "group .a\nkey .x .1\\x20 1 1 !\n"),
    (b"[a]\na b=2\n", "group .a\nkey .a\\x20b .2 ! 2 2\n"),
    // Names of groups.
    (b"[ a ]\n[a b/:@!]  \n[A]\n", "group .\\x20a\\x20\ngroup .a\\x20b/:@!\ngroup .A\n"),
    (b"[\xff\xc3\xa4]\n", "group .\\xff\\xc3\\xa4\n"),
    (b"[]\n", REFUSED),
    (b"[a]]\n", REFUSED),
    (b"[a\tb]\n", REFUSED),
    // What stands twice.
    (
        b"[a]\nx=1\n[b]\n[a]\ny=2\nx=3\n",
        "group .a\nkey .x .3 ! 3 3\nkey .y .2 ! 2 2\nkey .x .3 ! 3 3\ngroup .b\n",
    ),
    // Strings.
    (b"[a]\nx=a\\s\\n\\t\\r\\\\\"\n", "group .a\nkey .x .a\\x20\\x0a\\x09\\x0d\\x5c\" ! ! !\n"),
    (b"[a]\nx=a\\q\ny=a\\\nz=\xff\n", "group .a\nkey .x ! ! ! !\nkey .y ! ! ! !\nkey .z ! ! ! !\n"),
    (b"# \xff\n[a]\nx=1\n", "group .a\nkey .x .1 1 1 1\n"),
    // Flags.
    (
        b"[a]\na=true\nb=false  \nc=yes\nd=TRUE\ne=\nf=\"true\"\n",
        "group .a\nkey .a .true 1 ! !\nkey .b .false\\x20\\x20 0 ! !\nkey .c .yes ! ! !\nkey .d .TRUE ! ! !\n\
         key .e . ! ! !\nkey .f .\"true\" ! ! !\n",
    ),
    // Numbers.
    (
        b"[a]\na=007\nb=-1\nc=5 x\nd=0x5\ne=5k\nf=2147483648\n",
        "group .a\nkey .a .007 ! 7 7\nkey .b .-1 ! -1 -1\nkey .c .5\\x20x ! 5 !\nkey .d .0x5 ! ! !\nkey .e .5k ! ! !\n\
         key .f .2147483648 ! ! 2147483648\n",
    ),
    (
        b"[a]\na=10M\nb=99999999999999999999\nc=-99999999999999999999\n",
        "group .a\nkey .a .10M ! ! !\nkey .b .99999999999999999999 ! ! 9223372036854775807\n\
         key .c .-99999999999999999999 ! ! -9223372036854775808\n",
    ),
    // Translations.
    (
        b"[a]\nx=1\nx[de]=2\nx[de_DE.UTF-8@euro]=\n",
        "group .a\nkey .x .1 1 1 1\nkey .x[de] .2 ! 2 2\nkey .x[de_DE.UTF-8@euro] . ! ! !\n",
    ),
    // GLib's own key, in the first group alone.
    (
        b"[a]\nEncoding=utf-8\n[b]\nEncoding=x\n",
        "group .a\nkey .Encoding .utf-8 ! ! !\ngroup .b\nkey .Encoding .x ! ! !\n",
    ),
    (b"[a]\n[b]\n[a]\nEncoding=latin1\n", REFUSED),
];

/// So many texts, always the same ones: lines that make sense and some that make none, and in some of the texts a few bytes
/// that do not belong there.
pub fn generated(count: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(|seed| Writer { state: mix(seed), text: Vec::new() }.write())
}

struct Writer {
    state: u64,
    text: Vec<u8>,
}

impl Writer {
    fn write(mut self) -> Vec<u8> {
        if self.one_in(32) {
            self.line();
        }
        self.put(b"[generic]\n");
        for _ in 0..self.below(16) {
            self.line();
        }
        if self.one_in(3) {
            for _ in 0..=self.below(4) {
                self.damage();
            }
        }
        self.text
    }

    fn line(&mut self) {
        if self.one_in(6) {
            self.blanks();
        }
        match self.below(100) {
            0..20 => self.group(),
            20..90 => self.entry(),
            90..94 => self.pick(&[b"# comment", b"#", b"#=", b"#[x]", b"# \xff\xfe", b"#\0"]),
            94..98 => {}
            98 if self.one_in(2) => self.pick(STRANGE_LINES),
            _ => {
                let (letter, length) = (self.letter(), self.below(9000));
                self.put(b"long=");
                self.text.extend((0..length).map(|_| letter));
            }
        }
        self.pick(&[b"\n", b"\n", b"\n", b"\n", b"\r\n", b"\r\n", b"\r\r\n", b"\n\n"]);
    }

    fn group(&mut self) {
        self.put(b"[");
        self.pick_mostly(GROUPS, &[b"", b"a[b", b"a\tb", b"a\x7f"]);
        self.put(b"]");
        if self.one_in(6) {
            let wrong: &[&[u8]] = &[b"\r", b"\x0c", b" x", b"]", b"\xc2\xa0", b"\x80x"];
            self.pick_mostly(&[b" ", b"\t", b"  \t ", b"\x80", b" \xbf "], wrong);
        }
    }

    fn entry(&mut self) {
        self.pick(KEYS);
        if self.one_in(12) {
            self.pick_mostly(LANGUAGES, NO_LANGUAGES);
        }
        if self.one_in(3) {
            self.blanks();
        }
        self.put(b"=");
        if self.one_in(2) {
            self.blanks();
        }
        match self.below(4) {
            0 => self.pick(STRINGS),
            1 => self.pick(FLAGS),
            2 => self.pick(NUMBERS),
            _ => (0..self.below(6)).for_each(|_| {
                let letter = self.letter();
                self.text.push(letter);
            }),
        }
        if self.one_in(4) {
            self.blanks();
        }
    }

    fn blanks(&mut self) {
        self.pick(&[b" ", b" ", b"\t", b"  ", b" \t", b"\x0b", b"\x0c", b"\r", b"\xc2\xa0", b"\x0b \x0b"]);
    }

    /// One byte too many, too few or another one.
    fn damage(&mut self) {
        let (at, letter) = (self.below(self.text.len() as u64 + 1) as usize, self.letter());
        let there = at < self.text.len();
        match self.below(3) {
            0 => self.text.insert(at, letter),
            1 if there => self.text[at] = letter,
            2 if there => drop(self.text.remove(at)),
            _ => self.text.truncate(at),
        }
    }

    fn letter(&mut self) -> u8 {
        const LETTERS: &[u8] = b"[]=#;\\ \t\n\r\0\x0b\x0c\x7f\x1f\x80\xbf\xc3\xe2\xff-+_.@0159aEns";
        LETTERS[self.below(LETTERS.len() as u64) as usize]
    }

    fn pick(&mut self, choices: &[&[u8]]) {
        let choice = choices[self.below(choices.len() as u64) as usize];
        self.put(choice);
    }

    /// The wrong ones seldom: one of them is the end of its text.
    fn pick_mostly(&mut self, right: &[&[u8]], wrong: &[&[u8]]) {
        let choices = if self.one_in(16) { wrong } else { right };
        self.pick(choices);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state) % end
    }
}

const GROUPS: &[&[u8]] = &[
    b"generic",
    b"a",
    b"a",
    b"b",
    b" a ",
    b"A",
    b"a b/:@!",
    b"a=b",
    b"\xc3\xa4",
    b"\xff\x80",
    b"\x80",
    b"#",
    b"a\\s",
];

const KEYS: &[&[u8]] = &[
    b"x",
    b"x",
    b"y",
    b"exportname",
    b"readonly",
    b"filesize",
    b"a b",
    b"a\tb",
    b"a  ",
    b"Encoding",
    b"encoding",
    b"\xc3\xa4",
    b"\xff",
    b"\x80",
    b"a;b",
    b"a\\b",
    b"\x0bx",
    b"x\x0b",
];

const LANGUAGES: &[&[u8]] = &[
    b"[de]",
    b"[de_DE.UTF-8@euro]",
    b"[d-e]",
    b"[]",
    b"[\xc3\xa4]",
    b"[\xc3\xa4\x80]",
    b"[d\x80]",
    b"[\xc2\xb2]",
    b"\t[de]",
    b"[de] ",
];

const NO_LANGUAGES: &[&[u8]] =
    &[b"[\xe2\x82\xac]", b"[\xc3]", b"[\xff]", b" [de]", b"[de", b"de]", b"[de][en]", b"[d e]", b"[de]x"];

const FLAGS: &[&[u8]] =
    &[b"true", b"false", b"1", b"0", b"TRUE", b"yes", b"tru", b"true true", b"\"true\"", b"01", b""];

const NUMBERS: &[&[u8]] = &[
    b"5",
    b"+5",
    b"-5",
    b"- 5",
    b"+-5",
    b"5 x",
    b"5\tx",
    b"5\x0bx",
    b"5\x0cx",
    b"\x0b5",
    b"\x0b 5",
    b"5x",
    b"007",
    b"-0",
    b"0x10",
    b"-",
    b"+",
    b"1e3",
    b"1.5",
    b"2147483647",
    b"2147483648",
    b"-2147483648",
    b"-2147483649",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"99999999999999999999999999999999999999999999",
    b"-99999999999999999999999999999999999999999999",
    b"00000000000000000000000000000000000000000007",
    b"\xd9\xa3",
];

const STRINGS: &[&[u8]] = &[
    b"/dev/vdb",
    b"UTF-8",
    b"utf-8",
    b"latin1",
    b"a\\sb\\nc\\td\\re\\\\",
    b"\\q",
    b"a\\",
    b"\\\\\\",
    b"\\;",
    b"\\\xc3\xa4",
    b"a=b=c",
    b"=",
    b"[x]",
    b"\"quoted\"",
    b"\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xbe",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xef\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xff",
    b"a\xc3",
    b"a\x7f\x01",
    b"",
];

const STRANGE_LINES: &[&[u8]] = &[
    b"; comment",
    b"bare",
    b"=x",
    b"[",
    b"[]",
    b"]",
    b"[a]=x",
    b"a]=x",
    b"[a=x",
    b"\xef\xbb\xbf",
    b"\xef\xbb\xbf[a]",
    b"\xef\xbb\xbfx=1",
    b"\0",
    b"\0x=1",
    b"\0[",
    b"x\0=1",
    b"[a\0]",
    b"x=1\0\0",
];
