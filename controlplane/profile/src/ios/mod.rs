//! Reads the running configuration of an IOS router and converts it into a profile.
