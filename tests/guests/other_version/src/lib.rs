//! A guest of a version of the interface that does not exist yet.

wit_bindgen::generate!({
    inline: "
        package netsonde:probe@0.9.0;
        interface guest { describe: func() -> string; }
        world probe { export guest; }
    ",
});

struct Guest;

impl exports::netsonde::probe::guest::Guest for Guest {
    fn describe() -> String {
        "from the future".into()
    }
}

export!(Guest);
