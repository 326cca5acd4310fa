# One image for hub and sites; docker-compose.yml says which process it runs.
FROM python:3.11.14-slim-bookworm AS environment
WORKDIR /app
RUN pip install --no-cache-dir uv==0.12.24
COPY requirements.txt constraints.txt ./
RUN uv venv /app/.venv \
 && uv pip install --python /app/.venv/bin/python --compile-bytecode --no-cache -r requirements.txt

FROM python:3.11.14-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --create-home --shell /usr/sbin/nologin fedcost
WORKDIR /app
COPY --from=environment /app/.venv /app/.venv
COPY .streamlit .streamlit
COPY api api
COPY app app
COPY db db
COPY fl fl
COPY pages pages
COPY pyproject.toml ./
ENV PATH=/app/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8501 \
    DATA_DIR=/data \
    FLWR_HOME=/data/flwr \
    FORWARDED_ALLOW_IPS=
USER fedcost
# Writes to /data and /tmp only, so the root file system may be read-only.
EXPOSE 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/api/health', timeout=4)"]
ENTRYPOINT ["python", "-m", "db.with_secrets"]
CMD ["python", "-m", "streamlit", "run", "app/main.py", "--server.address", "0.0.0.0", "--server.port", "8501"]
