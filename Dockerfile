# docker build -t pychat .
# docker run -d --name pychat -p 5000:5000 -v pychat:/home/pychat pychat
# docker exec pychat pychat invite bob        (and users, ctl, backup ...)
FROM rust:1.95-slim AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked && strip target/release/pychat

FROM debian:trixie-slim
RUN useradd --uid 10001 --create-home pychat
COPY --from=build /build/target/release/pychat /usr/local/bin/pychat
USER pychat
ENV PYCHAT_HOME=/home/pychat/server PYCHAT_LISTEN=0.0.0.0:5000
VOLUME /home/pychat
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["pychat", "ctl", "health"]
ENTRYPOINT ["pychat"]
CMD ["server", "--no-owner"]
