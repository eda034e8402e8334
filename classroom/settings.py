"""Settings, read from the environment. Every one is described in docs/settings.md."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.utils.csp import CSP
from django.utils.translation import gettext_lazy as _
from kombu import Exchange, Queue

from classroom import environment as env
from classroom import logs, places, work_storage

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = env.own_folder("DATA_DIR", places.data_dir())
# Unix socket paths end at 107 bytes (unix(7)), so the folder for them may be moved to a short path.
RUN_DIR = env.own_folder("RUN_DIR", Path(env.text("RUN_DIR", str(DATA_DIR / "run"))))

DEBUG = env.flag("PUPITRE_DEBUG")
SECRET_KEY = env.text("SECRET_KEY") or env.secret_file(DATA_DIR / "secrets", "django")
MASTER_KEYS_BEFORE = env.versioned_keys("MASTER_KEY", DATA_DIR / "secrets", "master")
MASTER_KEY_VERSION = max(MASTER_KEYS_BEFORE)
MASTER_KEY = MASTER_KEYS_BEFORE.pop(MASTER_KEY_VERSION)

# --- origins: pages on one, each notebook on a host of its own below NOTEBOOK_DOMAIN
PORT = env.text("PORT", "8000")
SITE_ORIGIN = env.text("SITE_ORIGIN", f"http://127.0.0.1:{PORT}")
NOTEBOOK_ORIGIN = env.text("NOTEBOOK_ORIGIN", f"http://*.localhost:{PORT}")
SITE_HOST = urlsplit(SITE_ORIGIN).netloc
NOTEBOOK_DOMAIN = urlsplit(NOTEBOOK_ORIGIN.replace("*.", "")).netloc
ALLOWED_HOSTS = [urlsplit(SITE_ORIGIN).hostname or "127.0.0.1", *env.words("ALLOWED_HOSTS")]
SECURE = SITE_ORIGIN.startswith("https:")
CSRF_TRUSTED_ORIGINS = [SITE_ORIGIN]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME = "__Host-site" if SECURE else "site"
CSRF_COOKIE_NAME = "__Host-csrf" if SECURE else "csrf"
BEHIND_PROXY = env.flag("BEHIND_PROXY")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
# Whose tries to sign in are counted: what proxies add stands at the end of X-Forwarded-For, what people send before it.
ALLAUTH_TRUSTED_PROXY_COUNT = env.number("PROXIES", 1) if BEHIND_PROXY else 0
SECURE_HSTS_SECONDS = 31536000 if SECURE else 0
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "classroom.people",
    "classroom",
    "grading",
    "runtimes",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.forms",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.google",
    "django_htmx",
    "heroicons",
]

MIDDLEWARE = [
    "classroom.page_slots.PageSlotMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "classroom.middleware.PersonMiddleware",
    "classroom.body_limit.TooLargeMiddleware",
    "classroom.middleware.FormsAddressMiddleware",
    "classroom.storage_away.StorageAwayMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "classroom.middleware.SignedOutMiddleware",
]

ROOT_URLCONF = "classroom.urls"
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
ASGI_APPLICATION = "classroom.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.template.context_processors.csp",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "classroom.middleware.display",
            ],
        },
    },
]

DATABASES = {"default": env.database(env.text("DATABASE_URL"), DATA_DIR / "db.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = env.text("REDIS_URL")

STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": DATA_DIR / "media"}},
    "work": work_storage.backend(env.text("WORK_STORAGE"), DATA_DIR / "work"),
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
STATIC_URL = "/static/"
STATIC_ROOT = Path(env.text("STATIC_ROOT", str(DATA_DIR / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG

# --- people
AUTH_USER_MODEL = "people.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
SIGN_UP_OPEN = env.flag("SIGN_UP_OPEN")
ACCOUNT_ADAPTER = "classroom.adapters.AccountAdapter"
SOCIALACCOUNT_ADAPTER = "classroom.adapters.SocialAccountAdapter"
ACCOUNT_FORMS = {
    "login": "classroom.forms_people.SignInForm",
    "reset_password": "classroom.forms_people.ForgottenPasswordForm",
}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "username*", "password1*", "password2*"]
# The roster knows people by email: whoever signs up must own the address that they say, or they would be someone else.
ACCOUNT_EMAIL_VERIFICATION = "mandatory" if SIGN_UP_OPEN else "none"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
# Guessing is what is limited. A class behind one address signs in within the same minute.
ACCOUNT_RATE_LIMITS = {"login": "600/m/ip", "login_failed": "10/m/ip,5/5m/key"}
GOOGLE_CLIENT_ID = env.text("GOOGLE_CLIENT_ID")
GOOGLE_CLIENT_SECRET = env.text("GOOGLE_CLIENT_SECRET")
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = (
    {
        "google": {
            "APPS": [{"client_id": GOOGLE_CLIENT_ID, "secret": GOOGLE_CLIENT_SECRET}],
            "OAUTH_PKCE_ENABLED": True,
            # Google owns the addresses that it says are verified: they are who the roster says they are.
            "EMAIL_AUTHENTICATION": True,
        }
    }
    if GOOGLE_CLIENT_ID
    else {}
)
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
INVITATION_LIFETIME = timedelta(days=14)

# --- words and times
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("fr", _("French"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.text("TIME_ZONE", "UTC")
USE_TZ = True
LANGUAGE_COOKIE_SAMESITE = "Lax"

# --- mail
_EMAIL_HOST = env.text("EMAIL_HOST")
MAILERS: dict[str, Any] = {
    "default": {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {
            "host": _EMAIL_HOST,
            "port": env.number("EMAIL_PORT", 587),
            "username": env.text("EMAIL_HOST_USER"),
            "password": env.text("EMAIL_HOST_PASSWORD"),
            "use_tls": env.flag("EMAIL_USE_TLS", default=True),
            "timeout": 30,
        },
    }
    if _EMAIL_HOST
    # Without a mail server, letters are files: nothing is lost, and a demo can show them.
    else {
        "BACKEND": "django.core.mail.backends.filebased.EmailBackend",
        "OPTIONS": {"file_path": str(DATA_DIR / "mail")},
    },
}
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "pupitre@localhost")

# --- runtimes
RUNTIME_PROVIDER = env.text("RUNTIME_PROVIDER", "runtimes.sandboxes.provider.LocalProvider")
ENVIRONMENTS_DIR = places.environments_dir()
KERNEL_ENVIRONMENT = env.text("KERNEL_ENVIRONMENT")
SANDBOX_UID = env.number("SANDBOX_UID", 4242)
RUNTIMES_MOST = env.number("RUNTIMES_MOST", 0)
GPUS = env.text("GPUS")
LONG_RUN = timedelta(minutes=env.number("LONG_RUN_MINUTES", 120))
SLOWED_SHARE = min(max(env.number("SLOWED_CPU_PERCENT", 20), 1), 100) / 100
METRICS_TOKEN = env.text("METRICS_TOKEN")
PODS_NAMESPACE = env.text("PODS_NAMESPACE", "pupitre-runtimes")
PODS_SITE_NAMESPACE = env.text("PODS_SITE_NAMESPACE", "pupitre")
PODS_SITE = env.text("PODS_SITE", "pupitre")
PODS_IMAGE = env.text("PODS_IMAGE")
PODS_INDEX_URL = env.text("PODS_INDEX_URL")
PODS_USER_NAMESPACES = env.flag("PODS_USER_NAMESPACES")
PODS_POLICIES_ENFORCED = env.flag("PODS_POLICIES_ENFORCED")
PODS_ADDS_NODES = env.flag("PODS_ADDS_NODES")
DRIVE_BACKEND = env.text("DRIVE_BACKEND", "classroom.google.drive.FolderDrive")
DRIVE_DIR = Path(env.text("DRIVE_DIR", str(DATA_DIR / "drive")))
UPLOAD_MOST_FILES = 2000
UPLOAD_MOST_BYTES = 200 * 1024 * 1024
# A form without its files: see classroom/body_limit.py.
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024
# A class list may be confirmed with a tick for each of thousands, and an assignment uploaded file by file.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10000
DATA_UPLOAD_MAX_NUMBER_FILES = UPLOAD_MOST_FILES + 1

# --- tasks
if REDIS_URL:
    CELERY_BROKER_URL = REDIS_URL
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {"visibility_timeout": 3600}
else:
    CELERY_BROKER_URL = "folder://localhost"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(DATA_DIR / "broker" / "queue"),
        "data_folder_out": str(DATA_DIR / "broker" / "queue"),
        "control_folder": str(DATA_DIR / "broker" / "control"),
        "polling_interval": 0.05,
    }
# Workers turn to the two queues in turn: thousands of submissions keep no invitation and no release waiting.
CELERY_TASK_DEFAULT_QUEUE = "celery"
CELERY_TASK_QUEUES = [Queue(name, Exchange(name), routing_key=name) for name in ("celery", "grading")]
CELERY_TASK_ROUTES = {"classroom.tasks.autograde_waiting": {"queue": "grading"}}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_CONCURRENCY = env.number("WORKERS", 2)
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# A worker that a large notebook has made large is replaced once its turn is over (KiB).
CELERY_WORKER_MAX_MEMORY_PER_CHILD = 600 * 1024
# A worker that dies leaves its message to the next one; every task is safe to repeat.
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = 3600
CELERY_TASK_SOFT_TIME_LIMIT = 3540
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULER = "classroom.alive:Scheduler"
# As often as it says that it lives.
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat")
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "classroom.tasks.sweep", "schedule": 15.0},
    "publish-due": {"task": "classroom.tasks.publish_due", "schedule": 15.0},
}

# --- what a page may load: ours only; notebooks are framed from hosts of their own
SECURE_CSP: dict[str, Any] = {
    "default-src": ["'self'"],
    "script-src": ["'self'", CSP.NONCE],
    "style-src": ["'self'", CSP.NONCE],
    "img-src": ["'self'", "data:"],
    "frame-src": ["'self'", NOTEBOOK_ORIGIN],
    "form-action": ["'self'", NOTEBOOK_ORIGIN],
    "connect-src": ["'self'"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
}

LOGGING = logs.configuration(env.text("LOG_LEVEL", "INFO"))
