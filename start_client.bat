@echo off
rem Starts the pychat client: pychat.exe beside this file, or what Rust's cargo builds here.
rem See docs/operating.md.
if not exist "%~dp0pychat.exe" goto build
"%~dp0pychat.exe" client %*
goto ended
:build
cargo --version >nul 2>nul
if errorlevel 1 goto nocargo
cargo run --release --no-default-features --manifest-path "%~dp0Cargo.toml" -- client %*
:ended
set code=%errorlevel%
pause
exit /b %code%
:nocargo
echo error: there is no pychat.exe here, and no Rust to build it
echo hint:  put pychat.exe beside this file, or install Rust: see docs/operating.md
pause
exit /b 1
