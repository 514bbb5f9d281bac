from celery import shared_task

from apps.dashboard.support import end_expired_support_views


@shared_task(name="dashboard.end_support_views")
def end_support_views() -> None:
    """Close support views whose time is over."""
    end_expired_support_views()
