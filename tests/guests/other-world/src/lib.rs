//! A component of a world that has nothing to do with transforms.

wit_bindgen::generate!({ inline: "
    package tests:other;

    world other {
        export greet: func(name: string) -> string;
    }
" });

struct Greets;

impl Guest for Greets {
    fn greet(name: String) -> String {
        format!("Hello, {name}")
    }
}

export!(Greets);
