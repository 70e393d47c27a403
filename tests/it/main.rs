//! Tests of the program from outside.

mod fuzz_corpus;
