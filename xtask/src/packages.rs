//! What the build and the tests need from Debian, and how it is installed.
