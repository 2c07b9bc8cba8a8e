//! `MESSAGE_ID`: what kind of event a line is about, for whoever looks for it without reading words. The manual lists them.

/// The words of an event and its id, made at random once and never changed.
pub const IDS: [(&str, &str); 17] = [
    ("reload requested", "f3041ed518eb4fb1950cb9c104292f0c"),
    ("export added", "75189763364c48a2a9a2a4deeb7d2a19"),
    ("export changed", "487ed0c972d44f13bc68fbf2c64a0674"),
    ("export removed", "5e6239d2aaa340ee81481c8da6f19771"),
    ("export kept", "388075ed820b4b278f61602de0852945"),
    ("export unavailable", "199e995b7b714e439cd87a5218341a18"),
    ("export released", "4db70b2ffffc42399c18536e8ab2e2d3"),
    ("session fenced", "43b2d7bf7be0478ea153ea8227d8d168"),
    ("session kept", "4c12c34602e34b35b6adfa79fde58079"),
    ("setting changed", "7f75275eb3304364b40546bffc614c55"),
    ("setting not applied", "b9f7d9c8a82d4998b0e711f24ba936eb"),
    ("setting refused", "7ea3055454cd4851baf390889d759f68"),
    ("control request", "15a63e67ffb74ff8bbb2194466d3d575"),
    ("start complete", "e50d5ddf82c842acb0060e1d3369ef19"),
    ("reload complete", "28bf8110256e4d00bfb8c3a24400231b"),
    ("reload incomplete", "8dd2b874229b4f53a70a310b7ae8b6f7"),
    ("reload refused", "0627ee52880c479bbf2b94cb28dd20ed"),
];
