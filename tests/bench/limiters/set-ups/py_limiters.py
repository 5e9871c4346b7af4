"""Targets of uvicorn and gunicorn: slowapi and flask-limiter before a made-up tenant's answer. KIND says which."""

import os

KIND = os.environ.get("KIND", "")


def user(uid: str, iid: str) -> dict[str, object]:
    return {
        "user_id": uid,
        "disabled": False,
        "creation_time": 1640975400,
        "last_updated": 1640975400,
        "emails": [
            {
                "id": iid,
                "email": "u@example.com",
                "primary": True,
                "verified": False,
                "source": "monocloud",
                "verification_source": "monocloud",
            }
        ],
        "phone_numbers": [],
        "passkeys": [],
        "external_providers": [],
        "connections": [],
        "claims": {},
        "public_data": {},
        "private_data": {},
        "has_password": True,
        "force_password_reset": False,
        "username": None,
        "failure_count": 0,
    }


if KIND.startswith("slowapi"):
    from fastapi import FastAPI, Request, Response
    from slowapi import Limiter, _rate_limit_exceeded_handler
    from slowapi.errors import RateLimitExceeded
    from slowapi.util import get_remote_address

    limiter = Limiter(
        key_func=get_remote_address,
        key_style="endpoint",
        headers_enabled="headers" in KIND,
        strategy="moving-window" if "moving" in KIND else "fixed-window",
    )
    app = FastAPI()
    app.state.limiter = limiter
    app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)

    @app.post("/api/users/{uid}/emails/{iid}/unverify")
    @limiter.limit("600/minute" if "minute" in KIND else "50/second")
    async def unverify(request: Request, response: Response, uid: str, iid: str) -> dict[str, object]:
        return user(uid, iid)


if KIND.startswith("flask"):
    from flask import Flask
    from flask_limiter import Limiter
    from flask_limiter.util import get_remote_address

    app = Flask(__name__)
    Limiter(
        get_remote_address,
        app=app,
        default_limits=["600/minute" if "minute" in KIND else "500/10seconds"],
        storage_uri="memory://",
        strategy="moving-window" if "moving" in KIND else "fixed-window",
        headers_enabled="headers" in KIND,
    )

    @app.post("/api/users/<uid>/emails/<iid>/unverify")
    def unverify(uid: str, iid: str) -> dict[str, object]:
        return user(uid, iid)
