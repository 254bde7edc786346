//! What users of Drive sync suffer from, one test or more for each: a stranger to our code would write them, since
//! they act on Drive and look at our API, and at nothing between the two.

mod pain_01;
mod pain_02;
mod pain_03;
mod pain_04;
mod pain_05;
mod pain_06;
mod pain_07;
mod pain_08;
mod pain_09;
mod pain_10;
mod pain_11;
mod pain_12;
mod pain_13;
mod pain_14;
mod pain_15;
mod pain_16;
mod pain_17;
mod pain_18;
mod pain_19;
mod pain_20;
