@echo off
rem Starts the pychat client. It runs in WSL, the Linux inside Windows: see docs/operating.md.
where wsl.exe >nul 2>nul || goto nowsl
pushd "%~dp0"
wsl.exe -- bash -lc "exec cargo run --release -- client \"$@\"" pychat %*
set code=%errorlevel%
popd
pause
exit /b %code%
:nowsl
echo error: WSL is not installed
echo hint:  run "wsl --install" as administrator, start Windows again, then see docs/operating.md
pause
exit /b 1
