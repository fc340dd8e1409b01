//! Nothing: the package is its binary.
