"""What gunicorn serves, `webhooks.wsgi:app`. Each worker process imports it after its fork and connects alone."""

from webhooks.app import create_app
from workers.kernel import logs, settings

_settings = settings.load()
logs.configure(_settings.log_format)
app = create_app(_settings)
