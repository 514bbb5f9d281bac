"""Every setting of the portal, from the environment. Secrets have no default; `make run` generates them under `var/`."""

import re
from pathlib import Path
from typing import Any

import structlog
from django.core.exceptions import ImproperlyConfigured

from carina_portal import env, single_sign_on

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = re.search(r"^## (\d+\.\d+\.\d+)", (BASE_DIR / "CHANGELOG.md").read_text(), re.MULTILINE)[1]  # type: ignore[index]

# --- who we are -----------------------------------------------------------------------------------------------------------------
SECRET_KEY = env.secret("CARINA_SECRET_KEY")
VAULT_KEYS = env.key_ring("CARINA_VAULT_KEYS")
TOKEN_PEPPERS = env.key_ring("CARINA_TOKEN_PEPPERS")
INSTALLATION = env.text("CARINA_INSTALLATION", "carina")
BASE_URL = env.text("CARINA_BASE_URL", "http://127.0.0.1:8000").rstrip("/")
EMBEDDED = env.flag("CARINA_EMBEDDED")
DEBUG = env.flag("CARINA_DEBUG")
VAR_DIR = Path(env.text("CARINA_VAR", str(BASE_DIR / "var")))
HTTPS = BASE_URL.startswith("https://")
ALLOWED_HOSTS = env.words("CARINA_ALLOWED_HOSTS", "127.0.0.1,localhost")
CSRF_TRUSTED_ORIGINS = [BASE_URL]
BEHIND_PROXY = env.flag("CARINA_BEHIND_PROXY")  # one, of the operator's, that sets X-Forwarded-For and X-Forwarded-Proto

# --- applications ---------------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "template_partials",
    "apps.common",
    "apps.audit",
    "apps.accounts",
    "apps.tenants",
    "apps.credentials",
    "apps.operations",
    "apps.hosts",
    "apps.coes",
    "apps.bays",
    "apps.billing",
    "apps.dashboard",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "apps.common.middleware.request_id",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.common.middleware.scope",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "apps.accounts.middleware.last_seen",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "carina_portal.urls"
WSGI_APPLICATION = "carina_portal.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.dashboard.context.portal",
            ],
        },
    },
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
APPEND_SLASH = False  # both slash forms are routed; a redirect would lose the body of a POST

# --- PostgreSQL, Redis, Celery --------------------------------------------------------------------------------------------------
DATABASES: dict[str, dict[str, Any]] = {"default": {**env.database("DATABASE_URL"), "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}}
# Who migrates owns the tables, by a DATABASE_URL of its own; the portal's role may use them and is bound by row-level security.
DATABASE_ROLE = env.text("CARINA_DATABASE_ROLE")
REDIS_URL = env.secret("REDIS_URL")
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL.replace("redis+socket://", "unix://"),
        "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},  # a Redis that hangs must not hang requests
    }
}
CELERY_BROKER_URL = env.broker_url(REDIS_URL)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A request must not wait for a broker that is down: the sweep sends again what is due in the database.
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 2, "max_retries": 1}
CELERY_TASK_PUBLISH_RETRY = False
# The anonymous exchange needs no binding table in Redis, so an emptied Redis loses messages but never the way to send new ones.
CELERY_TASK_DEFAULT_EXCHANGE = ""
CELERY_TASK_DEFAULT_EXCHANGE_TYPE = "direct"
CELERY_TASK_DEFAULT_QUEUE = "carina"
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "dispatch operations that are due": {"task": "operations.sweep", "schedule": 1.0, "options": {"expires": 5}},
    "ask active bays how they are": {"task": "bays.observe_all", "schedule": 5.0, "options": {"expires": 5}},
    "ask clouds what they have": {"task": "hosts.sync_clouds", "schedule": 30.0, "options": {"expires": 30}},
    "keep the networks of bays as they shall be": {"task": "bays.keep_networks", "schedule": 30.0, "options": {"expires": 30}},
    "delete what bays that are gone left in clouds": {"task": "bays.sweep_clouds", "schedule": 60.0, "options": {"expires": 60}},
    "delete bays whose time is over": {"task": "bays.expire", "schedule": 30.0, "options": {"expires": 30}},
    "warn of API tokens that expire soon": {"task": "tenants.warn_of_expiring_tokens", "schedule": 3600.0, "options": {"expires": 600}},
    "end support views whose time is over": {"task": "dashboard.end_support_views", "schedule": 60.0, "options": {"expires": 60}},
    "sum the usage of days that are over": {"task": "billing.roll_up", "schedule": 60.0, "options": {"expires": 60}},
    "remind of invoices that are overdue": {"task": "billing.dun", "schedule": 3600.0, "options": {"expires": 600}},
    "send reminders that were not sent": {"task": "billing.mail_reminders", "schedule": 600.0, "options": {"expires": 300}},
    "tell of credit that ends soon": {"task": "billing.warn_of_credit", "schedule": 3600.0, "options": {"expires": 600}},
    "handle events of Stripe that could not be": {"task": "billing.handle_stripe_events", "schedule": 300.0, "options": {"expires": 120}},
    "close months and write their invoices": {"task": "billing.run_month", "schedule": 3600.0, "options": {"expires": 3000}},
    "watch budgets and prepaid credit": {"task": "billing.watch_budgets", "schedule": 30.0, "options": {"expires": 30}},
    "mail invoices that were issued": {"task": "billing.render_and_mail", "schedule": 60.0, "options": {"expires": 60}},
    "forget old idempotency keys": {"task": "common.forget_idempotency_keys", "schedule": 3600.0, "options": {"expires": 600}},
}
OPERATION_LEASE_SECONDS = env.integer("CARINA_OPERATION_LEASE_SECONDS", 10)

# --- people ---------------------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_LOGOUT_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "apps.accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_CONFIRM_EMAIL_ON_GET = False  # a mail scanner that follows the link must not burn it
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if HTTPS else "http"
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_CHANGE_EMAIL = True  # one address an account; a new one counts when its owner has pressed the button in the mail
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_FORMS = {"signup": "apps.accounts.forms.SignUpForm", "reset_password": "apps.accounts.forms.ForgottenPasswordForm"}
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if BEHIND_PROXY else 0  # whose tries are counted
MFA_ADAPTER = "apps.credentials.second_factors.SealedSecondFactors"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # the only unconfirmed address of somebody signed in is the one they are changing to
MFA_FORMS = {
    "add_webauthn": "apps.accounts.forms.AddPasskeyForm",
    "login_webauthn": "apps.accounts.forms.PasskeySignInForm",
    "authenticate_webauthn": "apps.accounts.forms.PasskeyAfterPasswordForm",
    "reauthenticate_webauthn": "apps.accounts.forms.PasskeyAgainForm",
}
USERSESSIONS_TRACK_ACTIVITY = True  # by our own middleware
OIDC_ISSUER, OIDC_NAME = single_sign_on.issuer(), single_sign_on.name()
SOCIALACCOUNT_PROVIDERS = single_sign_on.providers()
SOCIALACCOUNT_ADAPTER = "apps.accounts.single_sign_on.SingleSignOnAdapter"
SOCIALACCOUNT_LOGIN_ON_GET = False
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False  # an address alone never opens an account that is there already
TOKEN_PREFIX = "carina"  # noqa: S105 - what scanners look for
MAX_TOKEN_DAYS = env.integer("CARINA_MAX_TOKEN_DAYS", 365)
FAILED_TOKENS_PER_MINUTE = env.integer("CARINA_FAILED_TOKENS_PER_MINUTE", 30)

# --- mail -----------------------------------------------------------------------------------------------------------------------
MAIL_DIR = Path(env.text("CARINA_MAIL_DIR")) if env.text("CARINA_MAIL_DIR") else None
EMAIL_BACKEND = "apps.common.mailbox.FolderBackend" if MAIL_DIR else "django.core.mail.backends.smtp.EmailBackend"
DEFAULT_FROM_EMAIL = env.text("CARINA_MAIL_FROM", "Carina <carina@localhost>")
EMAIL_HOST = env.text("CARINA_SMTP_HOST", "localhost")
EMAIL_PORT = env.integer("CARINA_SMTP_PORT", 25)
EMAIL_HOST_USER = env.text("CARINA_SMTP_USER")
EMAIL_HOST_PASSWORD = env.secret("CARINA_SMTP_PASSWORD") if EMAIL_HOST_USER else ""
EMAIL_USE_TLS = env.flag("CARINA_SMTP_TLS")
EMAIL_TIMEOUT = 10

# --- bays -----------------------------------------------------------------------------------------------------------------------
CURRENCY = env.text("CARINA_CURRENCY", "USD")
PRICE_LIST = "apps.billing.estimates.quotes.BookPrices"  # who tells bays what hosts cost (apps.bays.pricing)
BILLING_TIME_ZONE = env.text("CARINA_BILLING_TIME_ZONE", "UTC")
# Both or neither: with the key alone, payments would be taken and never noted. Without them nothing here speaks of cards.
STRIPE_SECRET_KEY = env.optional_secret("CARINA_STRIPE_SECRET_KEY")
STRIPE_WEBHOOK_SECRET = env.optional_secret("CARINA_STRIPE_WEBHOOK_SECRET")
if bool(STRIPE_SECRET_KEY) != bool(STRIPE_WEBHOOK_SECRET):
    raise ImproperlyConfigured("Set both CARINA_STRIPE_SECRET_KEY and CARINA_STRIPE_WEBHOOK_SECRET, or neither.")
STRIPE_API = env.text("CARINA_STRIPE_API", "https://api.stripe.com")
# So many days after an invoice was due: a reminder at each but the last, and from the last on no growth until it is paid.
DUNNING_DAYS = env.days("CARINA_DUNNING_DAYS", "3,10,17")
MAX_HOSTS_PER_BAY = env.integer("CARINA_MAX_HOSTS_PER_BAY", 50)
DEFAULT_MAX_BAYS = env.integer("CARINA_DEFAULT_MAX_BAYS", 10)
DEFAULT_MAX_HOSTS = env.integer("CARINA_DEFAULT_MAX_HOSTS", 50)
DEFAULT_MAX_VCPUS = env.integer("CARINA_DEFAULT_MAX_VCPUS", 200)
DEFAULT_MAX_MEMORY_MIB = env.integer("CARINA_DEFAULT_MAX_MEMORY_GIB", 800) * 1024
DEFAULT_MAX_DISK_GIB = env.integer("CARINA_DEFAULT_MAX_DISK_GIB", 5000)
# A request for limits up to so many times those above approves itself, once in 30 days; 0: an operator decides about each.
QUOTA_SELF_APPROVED = env.integer("CARINA_QUOTA_SELF_APPROVED", 2)
CLIENT_CERTIFICATE_DAYS = env.integer("CARINA_CLIENT_CERTIFICATE_DAYS", 90)
# A /24 for each bay is taken out of this range, leaving out what the cloud and this machine already use.
BAY_NETWORKS = env.text("CARINA_BAY_NETWORKS", "10.100.0.0/14")
PUBLIC_ADDRESS = env.text("CARINA_PUBLIC_ADDRESS")
PUBLIC_PORTS = env.text("CARINA_PUBLIC_PORTS", "20000-29999")

# --- browser --------------------------------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "manifest-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    },
}
CSRF_FAILURE_VIEW = "apps.dashboard.errors.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"carina_session_{INSTALLATION}", f"carina_csrf_{INSTALLATION}"  # two portals on one host name
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"

# --- language and time ----------------------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]
TIME_ZONE = "UTC"
USE_I18N = USE_TZ = True

# --- REST API -------------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apps.bays.api.authentication.TokenAuthentication", "apps.bays.api.authentication.BrowserSession"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "apps.common.api.pagination.NewestFirst",
    "EXCEPTION_HANDLER": "apps.common.api.problems.handle",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "NUM_PROXIES": 1 if BEHIND_PROXY else 0,
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.AnonRateThrottle", "rest_framework.throttling.UserRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"anon": env.text("CARINA_RATE_ANONYMOUS", "60/min"), "user": env.text("CARINA_RATE_USER", "1200/min")},
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Carina",
    "DESCRIPTION": "Private container clusters in seconds. Every list is cursor-paged, every error is RFC 9457 problem+json.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
}

# --- logs: one line of key=value or JSON an event, never a secret ------------------------------------------------------------------
_shared: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]
_renderer: Any = (
    structlog.processors.JSONRenderer()
    if env.text("CARINA_LOG_FORMAT") == "json"
    else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
)
structlog.configure(
    processors=[*_shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": _shared,
            "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer],
        },
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.text("CARINA_LOG_LEVEL", "INFO")},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "fontTools": {"level": "WARNING"},  # it tells each glyph of each invoice
        "fpdf": {"level": "WARNING"},
        "factur-x": {"level": "WARNING"},
        # It warns of each connection that is closed because enough others are kept.
        "urllib3.connectionpool": {"level": "ERROR"},
        # In detail it would write down what it sends and gets: addresses of people, and what Stripe knows of their cards.
        "stripe": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
    },
}
